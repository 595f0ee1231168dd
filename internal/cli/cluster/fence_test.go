// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestWhole: a binding that leaves out objects that the operator may write does not count.
func TestWhole(t *testing.T) {
	labels := func(k, v string) *metav1.LabelSelector {
		return &metav1.LabelSelector{MatchLabels: map[string]string{k: v}}
	}
	for name, c := range map[string]struct {
		resources *admissionv1.MatchResources
		want      bool
	}{
		"everything":          {nil, true},
		"as the server reads": {&admissionv1.MatchResources{ObjectSelector: labels("app.kubernetes.io/managed-by", "tulle-operator"), NamespaceSelector: &metav1.LabelSelector{}}, true},
		"another label":       {&admissionv1.MatchResources{ObjectSelector: labels("a", "b")}, false},
		"another value":       {&admissionv1.MatchResources{ObjectSelector: labels("app.kubernetes.io/managed-by", "x")}, false},
		"a namespace":         {&admissionv1.MatchResources{NamespaceSelector: labels("a", "b")}, false},
		"a rule":              {&admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{}}}, false},
		"an exception":        {&admissionv1.MatchResources{ExcludeResourceRules: []admissionv1.NamedRuleWithOperations{{}}}, false},
	} {
		if got := whole(c.resources); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
