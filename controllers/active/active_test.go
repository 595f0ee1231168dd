// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package active

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
)

// TestOldest: by age, then by name, whatever the order; one that is being deleted is not passed over.
func TestOldest(t *testing.T) {
	at := func(name string, minute int) v1alpha1.Mesh {
		return v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{
			Name: name, CreationTimestamp: metav1.NewTime(time.Date(2026, 1, 1, 0, minute, 0, 0, time.UTC)),
		}}
	}
	deleted := at("c", 0)
	now := metav1.Now()
	deleted.DeletionTimestamp = &now
	for name, c := range map[string]struct {
		list []v1alpha1.Mesh
		want string
	}{
		"none":          {nil, ""},
		"one":           {[]v1alpha1.Mesh{at("a", 5)}, "a"},
		"older":         {[]v1alpha1.Mesh{at("a", 5), at("b", 4)}, "b"},
		"same minute":   {[]v1alpha1.Mesh{at("b", 5), at("a", 5)}, "a"},
		"being deleted": {[]v1alpha1.Mesh{at("a", 5), deleted}, "c"},
	} {
		got := ""
		if m := Oldest(c.list); m != nil {
			got = m.Name
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}
