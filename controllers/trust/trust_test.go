// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package trust

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"tulle.dev/tulle/api/v1alpha1"
)

// TestWanted is the table of which namespaces get the roots.
func TestWanted(t *testing.T) {
	team := &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
	for name, c := range map[string]struct {
		selector *metav1.LabelSelector
		labels   labels.Set
		proxies  int
		want     bool
	}{
		"nothing":                     {nil, nil, 0, false},
		"enabled":                     {nil, labels.Set{"tulle.dev/inject": "enabled"}, 0, true},
		"disabled":                    {nil, labels.Set{"tulle.dev/inject": "disabled"}, 0, false},
		"disabled, with a proxy":      {nil, labels.Set{"tulle.dev/inject": "disabled"}, 1, true},
		"something else in the label": {nil, labels.Set{"tulle.dev/inject": "yes"}, 0, false},
		"a proxy":                     {nil, nil, 1, true},
		"selected":                    {team, labels.Set{"team": "a"}, 0, true},
		"not selected":                {team, labels.Set{"team": "b"}, 0, false},
		"selected but disabled":       {team, labels.Set{"team": "a", "tulle.dev/inject": "disabled"}, 0, false},
		"everything selected":         {&metav1.LabelSelector{}, nil, 0, true},
		"a selector of nonsense":      {&metav1.LabelSelector{MatchLabels: map[string]string{"a": "b c"}}, labels.Set{"a": "b c"}, 0, false},
	} {
		m := &v1alpha1.Mesh{}
		m.Spec.Injection.NamespaceSelector = c.selector
		if got := Wanted(m, c.labels, c.proxies); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
}
