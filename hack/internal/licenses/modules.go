// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package licenses

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"unicode"
)

// Module is a version of a module that another module requires.
type Module struct{ Path, Version string }

// Required returns what a module file, such as a go.mod, requires. Since Go 1.17 that is
// every module with a package that the module's programs, tests and tools are
// built from. Modules that are replaced by a folder of this repository are
// left out.
func Required(ctx context.Context, file string) ([]Module, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "edit", "-json", filepath.Base(file))
	cmd.Dir = filepath.Dir(file)
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return parseRequired(out)
}

func parseRequired(goMod []byte) ([]Module, error) {
	var file struct {
		Require []Module
		Replace []struct{ Old, New Module }
	}
	if err := json.Unmarshal(goMod, &file); err != nil {
		return nil, fmt.Errorf("parse go.mod: %w", err)
	}
	var all []Module
	for _, m := range file.Require {
		for _, r := range file.Replace {
			if r.Old.Path == m.Path && (r.Old.Version == "" || r.Old.Version == m.Version) {
				m = r.New
			}
		}
		if m.Version != "" {
			all = append(all, m)
		}
	}
	return all, nil
}

// CacheDir returns the folder of the module cache.
func CacheDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return "", fmt.Errorf("find the module cache: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// In returns the folder of the module in a module cache, which need not exist.
// Capital letters are written as "!" and the small letter; see
// https://go.dev/ref/mod#module-cache.
func (m Module) In(cache string) string {
	return filepath.Join(cache, escape(m.Path)+"@"+escape(m.Version))
}

func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if unicode.IsUpper(r) {
			b.WriteByte('!')
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
