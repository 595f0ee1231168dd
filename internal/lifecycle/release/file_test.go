// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWith: a file moves images, adds releases in their place, and leaves the rest as it is.
func TestWith(t *testing.T) {
	base := Catalog{
		{Version: "0.1.0", Image: "a:0.1.0", ProxyImage: "b:0.1.0", Envoy: "1", MeshFeatures: []string{"Mesh"}},
		{Version: "0.3.0", Image: "a:0.3.0", ProxyImage: "b:0.3.0", Envoy: "3", MeshFeatures: []string{"Mesh", "More"}},
	}
	entries, err := ParseFile([]byte(`
- version: 0.4.0-rc.1
  image: mirror:5000/tulle
  proxyImage: mirror:5000/proxy@sha256:abc
  envoy: 1.41.0
- version: 0.2.0
  image: mirror/tulle:two
  proxyImage: mirror/proxy:two
- version: 0.1.0
  proxyImage: mirror/proxy:one
`[1:]))
	if err != nil {
		t.Fatal(err)
	}
	got, err := base.With(entries)
	if err != nil {
		t.Fatal(err)
	}
	want := Catalog{
		{Version: "0.1.0", Image: "a:0.1.0", ProxyImage: "mirror/proxy:one", Envoy: "1", MeshFeatures: []string{"Mesh"}},
		{Version: "0.2.0", Image: "mirror/tulle:two", ProxyImage: "mirror/proxy:two", MeshFeatures: []string{"Mesh"}},
		base[1],
		{Version: "0.4.0-rc.1", Image: "mirror:5000/tulle:0.4.0-rc.1", ProxyImage: "mirror:5000/proxy@sha256:abc", Envoy: "1.41.0", MeshFeatures: []string{"Mesh", "More"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if base[0].ProxyImage != "b:0.1.0" || len(base) != 2 {
		t.Errorf("the catalog itself has changed: %v", base)
	}
	if same, err := base.With(nil); err != nil || !cmp.Equal(same, base) {
		t.Errorf("an empty file: %v, %v", same, err)
	}
}

// TestBadFile: what is wrong, and where.
func TestBadFile(t *testing.T) {
	const ok = "image: a, proxyImage: b"
	for _, c := range []struct{ text, want string }{
		{"version: 0.1.0", "expected a list"},
		{"[{version: 0.1.0, " + ok + ", proxy: c}]", `unknown field "proxy"`},
		{"[{" + ok + "}]", `release 1: version "" is not a version`},
		{"[{version: 0.1.0, " + ok + "}, {version: v0.2.0}]", `release 2: version "v0.2.0"`},
		{"[{version: 0.1.0, " + ok + "}, {version: 0.1.0}]", "release 2 (0.1.0): release 1 is the same"},
		{"[{version: 0.1.0-a.b, " + ok + "}, {version: 0.1.0-a-b}]", "release 2 (0.1.0-a-b): release 1 is the same"},
		{"[{version: 0.1.0, image: 'https://registry.example/tulle'}]", "release 1 (0.1.0): image"},
		{"[{version: 0.1.0, proxyImage: 'a b'}]", "release 1 (0.1.0): proxyImage"},
	} {
		if got, err := ParseFile([]byte(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, %v, want %q", c.text, got, err, c.want)
		}
	}
	for _, e := range []Entry{{Version: "0.9.0"}, {Version: "0.9.0", Image: "a"}, {Version: "0.9.0", ProxyImage: "a"}} {
		if _, err := Known("a", "b").With([]Entry{e}); err == nil || !strings.Contains(err.Error(), "release 0.9.0") {
			t.Errorf("an unknown release without its images: %v", err)
		}
	}
	for _, empty := range []string{"", "# nothing yet\n", "[]"} {
		if got, err := ParseFile([]byte(empty)); err != nil || len(got) != 0 {
			t.Errorf("%q: %v, %v", empty, got, err)
		}
	}
}
