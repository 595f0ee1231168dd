// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/names"
)

// TrustData is what is trusted, each field a key of ConfigMap names.TrustConfigMap; a key that is empty is
// left out. Recorded and Signers are for the system namespace alone.
type TrustData struct{ Roots, Intermediates, Recorded, Signers string }

func (d TrustData) keys() map[string]string {
	out := map[string]string{
		names.TrustKey: d.Roots, names.IntermediatesKey: d.Intermediates,
		names.RecordedIntermediatesKey: d.Recorded, names.SignersKey: d.Signers,
	}
	maps.DeleteFunc(out, func(k, v string) bool { return v == "" && k != names.TrustKey })
	return out
}

// Trust is the ConfigMap of the system namespace, which the others are copied from.
func Trust(mesh, namespace string, d TrustData) Object {
	return trust(mesh, namespace, d.keys())
}

// TrustFor is the copy of a namespace, with the addresses at which its proxies reach the control plane; none
// if its Service does not exist yet.
func TrustFor(mesh, namespace string, d TrustData, service *corev1.Service) Object {
	data := TrustData{Roots: d.Roots, Intermediates: d.Intermediates}.keys()
	if service != nil {
		var lines strings.Builder
		for _, ip := range service.Spec.ClusterIPs {
			if ip != corev1.ClusterIPNone {
				lines.WriteString(ip + "\n")
			}
		}
		data[names.AddressesKey] = lines.String()
	}
	out := trust(mesh, namespace, data)
	// One that something else makes immutable would never follow the roots again: the API server refuses this
	// field then, and the operator creates the object again at once.
	out.Object["immutable"] = false
	return out
}

func trust(mesh, namespace string, data map[string]string) Object {
	return object("v1", "ConfigMap", &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: names.TrustConfigMap, Namespace: namespace, Labels: map[string]string{
			names.LabelManagedBy: names.Operator,
			names.LabelMesh:      mesh,
		}},
		Data: data,
	})
}
