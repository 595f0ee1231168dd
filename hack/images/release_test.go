// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
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
		file := "current.go"
		if r.tags != "" {
			file = "current_" + strings.TrimPrefix(r.tags, "release_") + ".go"
		}
		current := read(file)
		if want := `const Current = "` + r.version + `"`; !strings.Contains(current, want) {
			t.Errorf("%s does not contain %q", file, want)
		}
		if r.tags != "" && !strings.Contains(current, "//go:build "+r.tags+"\n") {
			t.Errorf("%s does not need the tag %s", file, r.tags)
		}
	}
}

// Programs of different releases never get into each other's way, and know who they are.
func TestReleasesApart(t *testing.T) {
	seen := map[string]string{}
	for _, r := range append(releases(), faulty()...) {
		for _, i := range table() {
			for _, p := range i.programs {
				part := p.part(r.version, r)
				if other, ok := seen[part.Name]; ok && other != r.version+p.pkg {
					t.Errorf("%s is a program of two releases", part.Name)
				}
				seen[part.Name] = r.version + p.pkg
				if part.Tags != r.tags || !strings.Contains(part.LDFlags, "main.version="+r.version+" ") || !strings.HasSuffix(part.LDFlags, "main.envoyVersion="+r.envoy.version) {
					t.Errorf("%s of %s: tags %q, flags %q", part.Name, r.version, part.Tags, part.LDFlags)
				}
			}
		}
	}
	if r, err := findRelease(""); err != nil || r.tags != "" {
		t.Errorf("without a name: %v, %v", r, err)
	}
	if r, err := findRelease("0.2.5"); err != nil || r.tags != faultyTag || r.version != "0.2.5" {
		t.Errorf("a release for tests: %+v, %v", r, err)
	}
	if r := currentRelease(); r.tags != "" {
		t.Errorf("the current release is for tests: %+v", r)
	}
	if _, err := findRelease("9.9.9"); err == nil || !strings.Contains(err.Error(), "0.1.0, ") {
		t.Errorf("an unknown release: %v", err)
	}
}
