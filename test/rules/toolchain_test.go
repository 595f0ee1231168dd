// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rules

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestToolchain: every module asks for the toolchain that the main module's go.mod names, which is the one
// that the Makefile has the go command fetch. What people read, and the Dockerfiles, name the same.
func TestToolchain(t *testing.T) {
	read := func(file string) string {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	named := regexp.MustCompile(`(?m)^toolchain (go(\d+\.\d+)\.\d+)$`).FindStringSubmatch(read("go.mod"))
	if named == nil {
		t.Fatal("go.mod names no toolchain")
	}
	toolchain, language := named[1], named[2]
	list := exec.CommandContext(t.Context(), "git", "ls-files", "*.mod")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := strings.Fields(string(out))
	if len(modules) < 10 {
		t.Errorf("found only %v", modules)
	}
	for _, file := range modules {
		for _, line := range []string{"go " + language + ".0", "toolchain " + toolchain} {
			if !strings.Contains(read(file), "\n"+line+"\n") {
				t.Errorf("%s has no line %q", file, line)
			}
		}
	}
	for file, want := range map[string]string{
		"README.md":                      "export GOTOOLCHAIN=" + toolchain,
		"CONTRIBUTING.md":                "export GOTOOLCHAIN=" + toolchain,
		"hack/cluster/README.md":         "export GOTOOLCHAIN=" + toolchain,
		"Dockerfile":                     "FROM golang:" + strings.TrimPrefix(toolchain, "go"),
		"Dockerfile.proxy":               "FROM golang:" + strings.TrimPrefix(toolchain, "go"),
		"docs/operating/supply-chain.md": "`golang:" + strings.TrimPrefix(toolchain, "go") + "`",
	} {
		if !strings.Contains(read(file), want) {
			t.Errorf("%s has no %q", file, want)
		}
	}
}
