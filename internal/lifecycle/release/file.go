// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import (
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Entry is what a releases file says of one release. Version is required, and both images unless
// the release is known already; what is left out stays as it is known.
type Entry struct {
	Version    string `json:"version"`
	Image      string `json:"image,omitempty"`
	ProxyImage string `json:"proxyImage,omitempty"`
	// Envoy is the version of Envoy in ProxyImage. It is only shown.
	Envoy string `json:"envoy,omitempty"`
}

// ParseFile reads a releases file: a YAML list of entries, strictly. The error says which entry is
// wrong, and how.
func ParseFile(text []byte) ([]Entry, error) {
	var list []Entry
	if err := yaml.UnmarshalStrict(text, &list); err != nil {
		return nil, fmt.Errorf("expected a list of {version, image, proxyImage, envoy}: %w", err)
	}
	seen := map[string]int{}
	for i, e := range list {
		where := fmt.Sprintf("release %d", i+1)
		if _, ok := parse(e.Version); !ok {
			return nil, fmt.Errorf("%s: version %q is not a version such as 0.1.0", where, e.Version)
		}
		where += " (" + e.Version + ")"
		// By revision, because that is what names objects.
		revision := Release{Version: e.Version}.Revision()
		if first, twice := seen[revision]; twice {
			return nil, fmt.Errorf("%s: release %d is the same", where, first)
		}
		seen[revision] = i + 1
		for _, f := range []struct{ name, ref string }{{"image", e.Image}, {"proxyImage", e.ProxyImage}} {
			if strings.ContainsAny(f.ref, " \t\r\n") || strings.Contains(f.ref, "://") {
				return nil, fmt.Errorf("%s: %s %q is not an image such as registry.example/tulle:0.1.0", where, f.name, f.ref)
			}
		}
	}
	return list, nil
}

// With returns the catalog with the entries added, or put in the place of what is known of the same
// version, ordered by version. A release that is not known has the features and the needs of the newest
// known one that is not newer: its operator may know more, but this one can't.
func (c Catalog) With(entries []Entry) (Catalog, error) {
	out := slices.Clone(c)
	for _, e := range entries {
		i := slices.IndexFunc(out, func(r Release) bool { return r.Version == e.Version })
		if i < 0 {
			if e.Image == "" || e.ProxyImage == "" {
				return nil, fmt.Errorf("release %s is not known here: say its image and its proxyImage", e.Version)
			}
			r := Release{Version: e.Version}
			if before, ok := c.notNewer(e.Version); ok {
				r.GatewayFeatures, r.MeshFeatures = before.GatewayFeatures, before.MeshFeatures
				r.Kubernetes, r.Kinds = before.Kubernetes, before.Kinds
			}
			out = append(out, r)
			i = len(out) - 1
		}
		r := &out[i]
		// A tag left out is the version, as for images given by flag.
		if e.Image != "" {
			r.Image = tagged(e.Image, e.Version)
		}
		if e.ProxyImage != "" {
			r.ProxyImage = tagged(e.ProxyImage, e.Version)
		}
		if e.Envoy != "" {
			r.Envoy = e.Envoy
		}
	}
	slices.SortStableFunc(out, func(a, b Release) int {
		x, _ := parse(a.Version)
		y, _ := parse(b.Version)
		return x.compare(y)
	})
	return out, nil
}

// notNewer is the newest known release that is not newer than a version.
func (c Catalog) notNewer(version string) (Release, bool) {
	want, ok := parse(version)
	if !ok {
		return Release{}, false
	}
	for _, r := range slices.Backward(c) {
		if n, ok := parse(r.Version); ok && n.compare(want) <= 0 {
			return r, true
		}
	}
	return Release{}, false
}
