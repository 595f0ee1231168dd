// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/hack/internal/parts"
)

// notPinned are base images without a digest, with the reason.
var notPinned = map[string]string{
	"golang:1.27.3":             "its digest is not known here: no registry could be reached; make pin-bases before a release",
	"python:3.13-slim-bookworm": "the same; what the stage takes from the network itself is checked by hash",
}

// A Dockerfile names the images of others by digest.
func TestBasesPinned(t *testing.T) {
	repo, err := parts.FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	files, err := dockerfiles(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 3 {
		t.Errorf("found only %v", files)
	}
	excused := map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bases(string(text)) {
			if pinned.MatchString(b.ref) {
				continue
			}
			excused[b.ref] = true
			if notPinned[b.ref] == "" {
				t.Errorf("%s:%d: base image %s has no digest; run make pin-bases", filepath.Base(file), b.line, b.ref)
			}
		}
	}
	for ref := range notPinned {
		if !excused[ref] {
			t.Errorf("no Dockerfile names %s without a digest any more; remove the exception", ref)
		}
	}
}

const someDockerfile = `# syntax=docker/dockerfile:1
FROM --platform=$BUILDPLATFORM golang:1.27.3 AS build
RUN --mount=type=bind,from=registry.example:5000/tools/x:1,target=/x true
from alpine:3 as Other
COPY --from=build /a /a
COPY --from=1 /a /a
COPY --from=busybox:1 /bin/sh /sh
FROM build
FROM scratch
# FROM commented:1
COPY --from=other / /
`

func TestBases(t *testing.T) {
	var got []string
	for _, b := range bases(someDockerfile) {
		got = append(got, b.ref)
	}
	want := []string{"docker/dockerfile:1", "golang:1.27.3", "registry.example:5000/tools/x:1", "alpine:3", "busybox:1"}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRepin(t *testing.T) {
	resolve := func(digit string) func(string) (string, error) {
		return func(ref string) (string, error) {
			if strings.Contains(ref, "@") {
				return "", errors.New("asked for a digest's digest")
			}
			return "sha256:" + strings.Repeat(digit, 64), nil
		}
	}
	once, err := repin(someDockerfile, resolve("a"))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bases(once) {
		if !strings.HasSuffix(b.ref, "@sha256:"+strings.Repeat("a", 64)) {
			t.Errorf("not pinned: %s", b.ref)
		}
	}
	if len(bases(once)) != 5 {
		t.Errorf("pinned to\n%s", once)
	}
	// Pinning again moves to the tag's digest of the day.
	twice, err := repin(once, resolve("b"))
	if err != nil || twice != strings.ReplaceAll(once, strings.Repeat("a", 64), strings.Repeat("b", 64)) {
		t.Errorf("%v\n%s", err, twice)
	}
	for _, bad := range []string{"FROM golang\n", "FROM registry.example:5000/golang\n", "FROM golang:$GO\n"} {
		if _, err := repin(bad, resolve("a")); err == nil || !strings.Contains(err.Error(), "no fixed tag") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if _, err := repin("FROM golang:1\n", func(string) (string, error) { return "latest", nil }); err == nil {
		t.Error("a digest that is none is written")
	}
}
