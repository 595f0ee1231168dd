// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import (
	"slices"
	"testing"

	"sigs.k8s.io/gateway-api/pkg/features"
)

// TestTagged: a reference keeps its own tag or digest, whatever else has a colon in it.
func TestTagged(t *testing.T) {
	for ref, want := range map[string]string{
		"tulle.local/tulle":                "tulle.local/tulle:0.1.0",
		"tulle.local/tulle:dev":            "tulle.local/tulle:dev",
		"registry.example:5000/tulle":      "registry.example:5000/tulle:0.1.0",
		"registry.example:5000/tulle:x":    "registry.example:5000/tulle:x",
		"registry.example/t@sha256:abcdef": "registry.example/t@sha256:abcdef",
		"tulle":                            "tulle:0.1.0",
	} {
		if got := Known(ref, ref)[0]; got.Image != want || got.ProxyImage != want {
			t.Errorf("%s: got %s and %s, want %s", ref, got.Image, got.ProxyImage, want)
		}
	}
}

// TestFind finds a release by version and by revision, and nothing else.
func TestFind(t *testing.T) {
	c := Known("a", "b")
	if r, ok := c.Find(Current); !ok || r.Version != Current {
		t.Errorf("%v %v", r, ok)
	}
	if r, ok := c.FindRevision("0-1-0"); !ok || r.Version != Current {
		t.Errorf("%v %v", r, ok)
	}
	for _, v := range []string{"", "0.1", "9.9.9", "v0.1.0"} {
		if r, ok := c.Find(v); ok {
			t.Errorf("%q found %v", v, r)
		}
	}
	if got := (Catalog{{Version: "1.0.0"}, {Version: "1.1.0"}}).Versions(); got != "1.0.0, 1.1.0" {
		t.Error(got)
	}
}

// TestFeaturesExist: every feature is one of the Gateway API's, once, in order.
func TestFeaturesExist(t *testing.T) {
	r := Known("a", "b")[0]
	for _, list := range [][]string{r.GatewayFeatures, r.MeshFeatures} {
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("not sorted and unique: %v", list)
		}
		for _, f := range list {
			if !slices.ContainsFunc(features.AllFeatures.UnsortedList(), func(x features.Feature) bool { return string(x.Name) == f }) {
				t.Errorf("%q is no feature of the Gateway API", f)
			}
		}
		if len(list) > 64 {
			t.Errorf("%d features are more than a status can have", len(list))
		}
	}
}
