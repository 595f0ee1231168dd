// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// TestTrustFor: the ConfigMap has the Service's addresses, of both families, and does without a Service.
func TestTrustFor(t *testing.T) {
	for name, c := range map[string]struct {
		service *corev1.Service
		want    map[string]any
	}{
		"no Service":  {nil, map[string]any{"ca.crt": "roots"}},
		"one family":  {&corev1.Service{Spec: corev1.ServiceSpec{ClusterIPs: []string{"10.96.0.10"}}}, map[string]any{"ca.crt": "roots", "addresses": "10.96.0.10\n"}},
		"two":         {&corev1.Service{Spec: corev1.ServiceSpec{ClusterIPs: []string{"fd00::a", "10.96.0.10"}}}, map[string]any{"ca.crt": "roots", "addresses": "fd00::a\n10.96.0.10\n"}},
		"no address":  {&corev1.Service{Spec: corev1.ServiceSpec{ClusterIPs: []string{corev1.ClusterIPNone}}}, map[string]any{"ca.crt": "roots", "addresses": ""}},
		"not yet any": {&corev1.Service{}, map[string]any{"ca.crt": "roots", "addresses": ""}},
	} {
		if d := cmp.Diff(c.want, TrustFor("tulle", "shop", "roots", c.service).Object["data"]); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
