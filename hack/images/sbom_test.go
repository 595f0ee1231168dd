// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"tulle.dev/tulle/hack/internal/licenses"
)

type billComponent struct {
	BOMRef              string `json:"bom-ref"`
	Name, Version, PURL string
	Hashes              []struct{ Content string }
	Licenses            []struct{ License struct{ ID string } }
}

// billOf is what a reader of a bill sees of it.
type billOf struct {
	SerialNumber string
	Metadata     struct {
		Timestamp string
		Component struct{ Name, Version string }
	}
	Components   []billComponent
	Dependencies []struct {
		Ref       string
		DependsOn []string
	}
}

func readBill(t *testing.T, text []byte) billOf {
	t.Helper()
	var b billOf
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{"image:" + b.Metadata.Component.Name: true}
	for _, c := range b.Components {
		if known[c.BOMRef] {
			t.Errorf("%s is there twice", c.BOMRef)
		}
		known[c.BOMRef] = true
	}
	for _, d := range b.Dependencies {
		for _, ref := range append(d.DependsOn, d.Ref) {
			if !known[ref] {
				t.Errorf("the bill refers to %s, which is not in it", ref)
			}
		}
	}
	if b.SerialNumber != "" || b.Metadata.Timestamp != "" {
		t.Error("the bill has a number or a time of its own, so it is never the same twice")
	}
	return b
}

// missing returns the modules of a program, as the go command prints them, that are not in a bill.
func missing(t *testing.T, b billOf, program string) (modules int, absent []string) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "version", "-m", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "dep" {
			continue
		}
		modules++
		purl := "pkg:golang/" + f[1] + "@" + strings.ReplaceAll(f[2], "+", "%2B")
		if !slices.ContainsFunc(b.Components, func(c billComponent) bool {
			return c.PURL == purl && c.Name == f[1] && c.Version == f[2] && len(c.Licenses) > 0
		}) {
			absent = append(absent, purl)
		}
	}
	return modules, absent
}

// A bill has every module of every program, Envoy with its hash, and the C library; and it is always the same.
func TestBill(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	info, err := buildinfo.ReadFile(exe)
	if err != nil {
		t.Fatal(err)
	}
	c := contents{
		name: "some", version: "1.2.3",
		programs: []builtProgram{{path: "one", sha256: strings.Repeat("1", 64), info: info}, {path: "two", sha256: strings.Repeat("2", 64), info: info}},
		envoy:    currentRelease().envoy,
		files: map[string]libraryFile{
			"/lib/libc.so.6": {sha256: strings.Repeat("3", 64), pkg: "libc6", version: "2.36-9+deb12u14"},
			"/lib/libm.so.6": {sha256: strings.Repeat("4", 64)},
		},
	}
	write := func() []byte {
		made, err := bill(c, func(licenses.Module) ([]string, error) { return []string{"MIT"}, nil })
		if err != nil {
			t.Fatal(err)
		}
		text, err := encode(made)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	text := write()
	for range 5 {
		if !bytes.Equal(text, write()) {
			t.Fatal("the same contents have two bills")
		}
	}
	b := readBill(t, text)
	if n, absent := missing(t, b, exe); n < 5 || len(absent) > 0 {
		t.Errorf("of %d modules are absent: %v", n, absent)
	}
	for ref, sum := range map[string]string{
		"pkg:github/envoyproxy/envoy@v" + currentRelease().envoy.version: currentRelease().envoy.binary,
		"file:/one": strings.Repeat("1", 64), "file:/two": strings.Repeat("2", 64),
		"file:/lib/libc.so.6": strings.Repeat("3", 64), "file:/lib/libm.so.6": strings.Repeat("4", 64),
		"pkg:deb/debian/libc6@2.36-9%2Bdeb12u14":                                           "",
		"pkg:golang/stdlib@" + strings.TrimPrefix(strings.Fields(info.GoVersion)[0], "go"): "",
	} {
		found := false
		for _, c := range b.Components {
			found = found || c.BOMRef == ref && (sum == "" || len(c.Hashes) == 1 && c.Hashes[0].Content == sum)
		}
		if !found {
			t.Errorf("the bill has no %s with hash %q", ref, sum)
		}
	}
}
