// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/names"
)

// Trust is the ConfigMap with the roots, for one namespace.
func Trust(mesh, namespace, roots string) Object {
	return trust(mesh, namespace, map[string]string{names.TrustKey: roots})
}

// TrustFor is Trust with the addresses at which proxies of the namespace reach the control plane; none if
// its Service does not exist yet.
func TrustFor(mesh, namespace, roots string, service *corev1.Service) Object {
	data := map[string]string{names.TrustKey: roots}
	if service != nil {
		var lines strings.Builder
		for _, ip := range service.Spec.ClusterIPs {
			if ip != corev1.ClusterIPNone {
				lines.WriteString(ip + "\n")
			}
		}
		data[names.AddressesKey] = lines.String()
	}
	return trust(mesh, namespace, data)
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
