// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package parts

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Key is the first 16 hex digits of a hash over everything that decides what a
// part's binary is: the Go version, the build's flags, and the module's own
// files (go.mod, or the part's ModFile, and its sums stand for all the dependencies).
func Key(repo string, p Part, goVersion string) (string, error) {
	dir := filepath.Join(repo, p.Dir)
	names, err := keyFiles(dir, p.modFile())
	if err != nil {
		return "", fmt.Errorf("list sources of %s: %w", p.Name, err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n", goVersion, p.Package, strings.Join(Args(p, "OUT"), "\x00"))
	for _, n := range names {
		f, err := os.Open(filepath.Join(dir, n))
		if err != nil {
			return "", fmt.Errorf("hash sources of %s: %w", p.Name, err)
		}
		fmt.Fprintf(h, "file %s\n", n)
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", fmt.Errorf("hash sources of %s: %w", p.Name, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// keyFiles lists the files of dir that go into a build, sorted. The modules of
// the parts are single packages, so there is nothing below dir to look at.
func keyFiles(dir, modFile string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		n := e.Name()
		if e.IsDir() || strings.HasSuffix(n, "_test.go") {
			continue
		}
		if n == modFile || n == strings.TrimSuffix(modFile, ".mod")+".sum" || strings.HasSuffix(n, ".go") {
			names = append(names, n)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no Go files in %s", dir)
	}
	sort.Strings(names)
	return names, nil
}

func (p Part) modFile() string { return cmp.Or(p.ModFile, "go.mod") }

// Args is the command line, after `go`, that builds a part into out.
func Args(p Part, out string) []string {
	args := []string{
		"build", "-mod=readonly", "-trimpath", "-buildvcs=false",
		"-ldflags", strings.TrimSpace("-s -w " + p.LDFlags), "-o", out,
	}
	if p.ModFile != "" {
		args = append(args, "-modfile", p.ModFile)
	}
	if p.Tags != "" {
		args = append(args, "-tags", p.Tags)
	}
	return append(args, p.Package)
}
