// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const repo = "../.."

// TestComplete: every bundle is in every channel and replaces the one before it.
func TestComplete(t *testing.T) {
	annotations, err := readAnnotations(filepath.Join(repo, "bundle"))
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := parseBlocks(strings.NewReader(`{"schema":"olm.bundle","name":"tulle.v1"} {"schema":"olm.bundle","name":"tulle.v2"}`))
	if err != nil {
		t.Fatal(err)
	}
	all, err := complete(rendered, annotations)
	if err != nil {
		t.Fatal(err)
	}
	entries := []any{map[string]any{"name": "tulle.v1"}, map[string]any{"name": "tulle.v2", "replaces": "tulle.v1"}}
	want := []block{
		{"schema": "olm.package", "name": "tulle", "defaultChannel": "stable"},
		{"schema": "olm.channel", "package": "tulle", "name": "candidate", "entries": entries},
		{"schema": "olm.channel", "package": "tulle", "name": "fast", "entries": entries},
		{"schema": "olm.channel", "package": "tulle", "name": "stable", "entries": entries},
		{"schema": "olm.bundle", "name": "tulle.v1"},
		{"schema": "olm.bundle", "name": "tulle.v2"},
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	if _, err := complete(rendered, nil); err == nil {
		t.Error("a bundle without metadata is taken")
	}
	if _, err := parseBlocks(strings.NewReader(`{"schema":`)); err == nil {
		t.Error("half a block is taken")
	}
}

// TestScorecardTests: the bundle's own configuration says what is run, and one that says nothing is an error.
func TestScorecardTests(t *testing.T) {
	names, err := scorecardTests(filepath.Join(repo, "bundle"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"basic-check-spec", "olm-bundle-validation", "olm-crds-have-validation", "olm-crds-have-resources",
		"olm-spec-descriptors", "olm-status-descriptors",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	for about, text := range map[string]string{"nothing": "stages: []", "no name": "stages: [{tests: [{entrypoint: [scorecard-test]}]}]", "no YAML": "["} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "tests", "scorecard"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "tests", "scorecard", "config.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if names, err := scorecardTests(dir); err == nil {
			t.Errorf("%s: %v", about, names)
		}
	}
}

// TestRender: OLM's manifest takes the image everywhere.
func TestRender(t *testing.T) {
	text, err := render("example.com/olm@sha256:aa")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(text), "example.com/olm@sha256:aa"); n != 4 {
		t.Errorf("the image is there %d times, want 4", n)
	}
}
