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
		if d := cmp.Diff(c.want, TrustFor("tulle", "shop", TrustData{Roots: "roots"}, c.service).Object["data"]); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}

// TestTrustKeys: what only the operator and the control plane read stays in the system namespace, and a key
// without content is left out, because an agent takes a list of intermediates for a requirement.
func TestTrustKeys(t *testing.T) {
	all := TrustData{Roots: "roots", Intermediates: "list", Recorded: "recorded", Signers: "ids"}
	want := map[string]any{"ca.crt": "roots", "intermediates.pem": "list", "intermediates-recorded.pem": "recorded", "signers": "ids"}
	if d := cmp.Diff(want, Trust("tulle", "tulle-system", all).Object["data"]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]any{"ca.crt": "roots", "intermediates.pem": "list"}, TrustFor("tulle", "shop", all, nil).Object["data"]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]any{"ca.crt": "roots"}, Trust("tulle", "tulle-system", TrustData{Roots: "roots"}).Object["data"]); d != "" {
		t.Error(d)
	}
}
