// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/names"
)

// Trust is the ConfigMap with the roots, for one namespace.
func Trust(mesh, namespace, roots string) Object {
	return object("v1", "ConfigMap", &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Name: names.TrustConfigMap, Namespace: namespace, Labels: map[string]string{
			names.LabelManagedBy: names.Operator,
			names.LabelMesh:      mesh,
		}},
		Data: map[string]string{names.TrustKey: roots},
	})
}
