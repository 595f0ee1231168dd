// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package alerts

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// registered are the names of the metrics in the code: literals that begin with
// tulle_, and those put together from such a prefix and another literal of the same file.
func registered(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, folder := range []string{".", "controllers", "internal"} {
		err := filepath.WalkDir(filepath.Join(repo, folder), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && folder == "." && path != filepath.Join(repo, folder):
				return fs.SkipDir
			case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
				return nil
			}
			literals, err := literalsOf(path)
			if err != nil {
				return err
			}
			for _, l := range literals {
				if !strings.HasPrefix(l, "tulle_") {
					continue
				}
				if !strings.HasSuffix(l, "_") {
					names[l] = true
					continue
				}
				for _, rest := range literals {
					names[l+rest] = true
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}

func literalsOf(path string) ([]string, error) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var out []string
	ast.Inspect(file, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if s, err := strconv.Unquote(l.Value); err == nil && !slices.Contains(out, s) {
				out = append(out, s)
			}
		}
		return true
	})
	return out, nil
}

// TestRegistered makes sure that the search finds what it must and no more.
func TestRegistered(t *testing.T) {
	known := registered(t)
	for _, name := range []string{"tulle_ca_refusals_total", "tulle_xds_nacks_total", "tulle_agent_serving"} {
		if !known[name] {
			t.Errorf("%s is not found", name)
		}
	}
	for _, name := range []string{"tulle_nobody_has_this", "tulle_xds_", "tulle_xds_nobody_has_this"} {
		if known[name] {
			t.Errorf("%s is found", name)
		}
	}
}
