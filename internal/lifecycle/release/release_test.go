// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import (
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/gateway-api/pkg/features"
)

// TestImages: the current release's reference keeps its own tag or digest, whatever else has a colon
// in it; those of earlier releases are in the same repository.
func TestImages(t *testing.T) {
	for ref, want := range map[string]struct{ current, repository string }{
		"tulle.local/tulle":                  {"tulle.local/tulle:" + Current, "tulle.local/tulle"},
		"tulle.local/tulle:dev":              {"tulle.local/tulle:dev", "tulle.local/tulle"},
		"registry.example:5000/tulle":        {"registry.example:5000/tulle:" + Current, "registry.example:5000/tulle"},
		"registry.example:5000/tulle:x":      {"registry.example:5000/tulle:x", "registry.example:5000/tulle"},
		"registry.example/t@sha256:abcdef":   {"registry.example/t@sha256:abcdef", "registry.example/t"},
		"registry.example/t:x@sha256:abcdef": {"registry.example/t:x@sha256:abcdef", "registry.example/t"},
		"tulle":                              {"tulle:" + Current, "tulle"},
	} {
		for _, r := range Known(ref, ref) {
			image := want.current
			if r.Version != Current {
				image = want.repository + ":" + r.Version
			}
			if r.Image != image || r.ProxyImage != image {
				t.Errorf("%s, release %s: got %s and %s, want %s", ref, r.Version, r.Image, r.ProxyImage, image)
			}
		}
	}
}

// TestFind finds a release by version and by revision, and nothing else.
func TestFind(t *testing.T) {
	c := Known("a", "b")
	for _, known := range c {
		if r, ok := c.Find(known.Version); !ok || r.Version != known.Version || r.Envoy == "" {
			t.Errorf("%v %v", r, ok)
		}
		if r, ok := c.FindRevision(strings.ReplaceAll(known.Version, ".", "-")); !ok || r.Version != known.Version {
			t.Errorf("%v %v", r, ok)
		}
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
	exists := map[string]bool{}
	for f := range features.AllFeatures {
		exists[string(f.Name)] = true
	}
	var lists [][]string
	for _, r := range Known("a", "b") {
		for _, list := range [][]string{r.GatewayFeatures, r.MeshFeatures} {
			if r.Version == "0.2.0" { // it was built for Gateway API v1.6, with two features that v1.7 has by other names
				list = slices.DeleteFunc(slices.Clone(list), func(f string) bool { return f == "HTTPRouteRetry" || f == "HTTPRouteRetryBackendTimeout" })
			}
			lists = append(lists, list)
		}
	}
	for _, list := range lists {
		if len(list) == 0 {
			t.Error("a release without features")
		}
		if !slices.IsSorted(list) || len(slices.Compact(slices.Clone(list))) != len(list) {
			t.Errorf("not sorted and unique: %v", list)
		}
		for _, f := range list {
			if !exists[f] {
				t.Errorf("%q is no feature of the Gateway API", f)
			}
		}
		if len(list) > 64 {
			t.Errorf("%d features are more than a status can have", len(list))
		}
	}
}
