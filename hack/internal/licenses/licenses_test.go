// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package licenses

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const isc = `Permission to use, copy, modify, and/or distribute this software for any
purpose with or without fee is hereby granted, provided that the above
copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH
REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY
AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT,
INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM
LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR
OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR
PERFORMANCE OF THIS SOFTWARE.
`

func TestOf(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"known":                    {map[string]string{"LICENSE": isc}, []string{"ISC"}},
		"spelled otherwise":        {map[string]string{"licence.txt": isc}, []string{"ISC"}},
		"not a licence file":       {map[string]string{"README.md": isc, "license.go": "package x"}, nil},
		"no known text":            {map[string]string{"LICENSE": "You may use this on Tuesdays.\n"}, []string{Unknown}},
		"a known and another":      {map[string]string{"LICENSE": isc, "LICENSE-2": "Or on Fridays.\n"}, []string{"ISC", Unknown}},
		"a known one with a rider": {map[string]string{"LICENSE": isc + strings.Repeat("You must not use it for anything else.\n", 20)}, []string{"ISC", Unknown}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range c.files {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Of(dir)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	for name, c := range map[string]struct {
		path               string
		found              []string
		published, allowed bool
	}{
		"permissive, published":      {"example.com/m", []string{"Apache-2.0", "MIT"}, true, true},
		"unknown":                    {"example.com/m", []string{"MIT", Unknown}, false, false},
		"none":                       {"example.com/m", nil, false, false},
		"MPL, published":             {"example.com/m", []string{"MPL-2.0"}, true, false},
		"MPL, of a tool":             {"example.com/m", []string{"MPL-2.0"}, false, true},
		"GPL, of a tool":             {"example.com/m", []string{"GPL-3.0"}, false, false},
		"AGPL beside MIT":            {"example.com/m", []string{"AGPL-3.0", "MIT"}, false, false},
		"an exception":               {"github.com/golangci/golangci-lint/v2", []string{"GPL-3.0"}, false, true},
		"no exception if published":  {"github.com/golangci/golangci-lint/v2", []string{"GPL-3.0"}, true, false},
		"a module below an excepted": {"github.com/golangci/golangci-lint/v2/x", []string{"GPL-3.0"}, false, false},
	} {
		if got := Judge(c.path, c.found, c.published); (got == "") != c.allowed {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := Judge("example.com/m", []string{"GPL-3.0", "MIT"}, true); got != "has the licence GPL-3.0, which is not allowed in published images" {
		t.Error(got)
	}
}

func TestRequired(t *testing.T) {
	got, err := parseRequired([]byte(`{
		"Require": [
			{"Path": "example.com/A", "Version": "v1.0.0"},
			{"Path": "example.com/b", "Version": "v1.0.0", "Indirect": true},
			{"Path": "tulle.dev/tulle", "Version": "v0.0.0"}],
		"Replace": [
			{"Old": {"Path": "example.com/b"}, "New": {"Path": "example.com/fork", "Version": "v2.0.0"}},
			{"Old": {"Path": "tulle.dev/tulle"}, "New": {"Path": "../.."}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Module{{"example.com/A", "v1.0.0"}, {"example.com/fork", "v2.0.0"}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if dir := got[0].In("/cache"); dir != "/cache/example.com/!a@v1.0.0" {
		t.Error(dir)
	}
}

func TestUnused(t *testing.T) {
	var all []Module
	for path := range exceptions {
		all = append(all, Module{Path: path})
	}
	if got := Unused(all); len(got) != 0 {
		t.Errorf("unused: %v", got)
	}
	if got := Unused(nil); len(got) != len(exceptions) {
		t.Errorf("unused: %v", got)
	}
}
