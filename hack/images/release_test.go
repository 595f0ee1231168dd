// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tulle.dev/tulle/hack/internal/parts"
)

// The operator knows the same releases, with the same Envoy.
func TestReleasesAgree(t *testing.T) {
	repo, err := parts.FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		data, err := os.ReadFile(filepath.Join(repo, "internal", "lifecycle", "release", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	catalog := read("release.go")
	for _, r := range releases() {
		if want := `Version: "` + r.version + `", Envoy: "` + r.envoy.version + `"`; !strings.Contains(catalog, want) {
			t.Errorf("release.go does not contain %q", want)
		}
		if current := r.version == currentRelease().version; current != (r.commit == "") {
			t.Errorf("%s is built from %q", r.version, r.commit)
		}
	}
	if want := `const Current = "` + currentRelease().version + `"`; !strings.Contains(read("current.go"), want) {
		t.Errorf("current.go does not contain %q", want)
	}
	text, err := os.ReadFile(filepath.Join(repo, "test", "faulty", "doc.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range faulty() {
		if !strings.Contains(string(text), `= "`+r.version+`" //`) {
			t.Errorf("test/faulty has no fault for %s", r.version)
		}
	}
}

// Programs of different releases never get into each other's way, and know who they are.
func TestReleasesApart(t *testing.T) {
	seen := map[string]string{}
	for _, r := range append(releases(), faulty()...) {
		for _, i := range table() {
			for _, p := range i.programsOf(r) {
				part := p.part(r.version, r)
				if other, ok := seen[part.Name]; ok && other != r.version+p.pkg {
					t.Errorf("%s is a program of two releases", part.Name)
				}
				seen[part.Name] = r.version + p.pkg
				if part.Tags != "" || !strings.Contains(part.LDFlags, "main.version="+r.version+" ") || !strings.HasSuffix(part.LDFlags, "main.envoyVersion="+r.envoy.version) {
					t.Errorf("%s of %s: tags %q, flags %q", part.Name, r.version, part.Tags, part.LDFlags)
				}
			}
		}
	}
	if r, err := findRelease(""); err != nil || r.commit != "" || r.faulty {
		t.Errorf("without a name: %v, %v", r, err)
	}
	if r, err := findRelease("0.3.5"); err != nil || !r.faulty || r.version != "0.3.5" {
		t.Errorf("a release for tests: %+v, %v", r, err)
	}
	if _, err := findRelease("9.9.9"); err == nil || !strings.Contains(err.Error(), "0.2.0, ") {
		t.Errorf("an unknown release: %v", err)
	}
}

// TestFaultyPrograms: the programs of test/faulty are where the product's are expected, and the proxy's own is
// where the former finds it.
func TestFaultyPrograms(t *testing.T) {
	r, err := findRelease("0.3.7")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, name := range []string{"tulle", "tulle-proxy"} {
		i, _ := find(name)
		for _, p := range i.programsOf(r) {
			got[p.path] = p.pkg
		}
	}
	want := map[string]string{
		"tulle": "./test/faulty/tulle", "tulle-slot": "./cmd/tulle-slot", "tulle-proxy": "./test/faulty/tulle-proxy", "released/tulle-proxy": "./cmd/tulle-proxy",
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
