// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tulle.dev/tulle/internal/gatewaykinds"
)

// Most files of the product that may name a kind: rows that say how it is read and what it means, the file with that
// meaning, and the features of a release.
const (
	routeFiles  = 5
	policyFiles = 6
)

// product are the folders with the product's Go files.
var product = []string{"*.go", "api", "cmd", "controllers", "internal"}

// TestKindsAreNamedInFewFiles: another kind of routes or policies is a row here and there and a file for what it
// means. Names count in code and in strings, not in comments.
func TestKindsAreNamedInFewFiles(t *testing.T) {
	files := map[string]*ast.File{}
	for _, p := range productFiles(t) {
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files[p] = f
	}
	if len(files) < 400 {
		t.Fatalf("looked at %d files only", len(files))
	}
	check := func(k gatewaykinds.Kind, limit int) {
		var in []string
		for p, f := range files {
			if names(f, k.Name, k.Plural) {
				in = append(in, strings.TrimPrefix(p, "../../"))
			}
		}
		slices.Sort(in)
		if len(in) == 0 || len(in) > limit {
			t.Errorf("%s is named in %d files, at most %d are allowed: %s", k.Name, len(in), limit, strings.Join(in, " "))
		}
	}
	for _, k := range gatewaykinds.Routes() {
		check(k, routeFiles)
	}
	for _, k := range gatewaykinds.Policies() {
		check(k, policyFiles)
	}
}

// TestNamesAreFound tries what counts as naming a kind.
func TestNamesAreFound(t *testing.T) {
	for code, want := range map[string]bool{
		`var x *gwapiv1.UDPRoute`:              true,
		`var x gwapiv1.UDPRouteList`:           true,
		`var x gwapiv1.UDPRouteRule`:           false, // a part of one, which routes of other kinds may share
		`var udpRoutes int`:                    true,
		`func fromUDPRoute() {}`:               true,
		`const k = KindUDPRoute`:               true,
		`var s = "a UDPRoute is needed"`:       true,
		`var s = "udproutes"`:                  true,
		"// UDPRoute is told of.\nvar s = 1":   false,
		`var s = "UDP route"`:                  false,
		`import _ "example.org/x/udproute/v1"`: false,

		"import routev3 \"example.org/x\"\nvar x routev3.UDPRouteMatch":        false,
		"import own \"tulle.dev/tulle/internal/x\"\nvar x = own.UDPRouteMatch": true,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "", "package p\n"+code, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := names(f, "UDPRoute", "udproutes"); got != want {
			t.Errorf("%s: named %v, want %v", code, got, want)
		}
	}
}

// productFiles are the product's Go files that people write, without tests and what tests are made of.
func productFiles(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pattern := range product {
		roots, err := filepath.Glob("../../" + pattern)
		if err != nil || len(roots) == 0 {
			t.Fatalf("%s: %v, %v", pattern, roots, err)
		}
		for _, root := range roots {
			err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
				switch {
				case err != nil:
					return err
				case d.IsDir() && p == "../../internal/testing":
					return filepath.SkipDir
				case strings.HasSuffix(p, ".go") && !strings.HasSuffix(p, "_test.go") && !strings.HasPrefix(d.Name(), "zz_generated"):
					out = append(out, p)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	return out
}

// names reports whether code names a kind, by itself or as part of a name of its own.
func names(f *ast.File, kind, plural string) bool {
	kind = strings.ToLower(kind)
	found := false
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			switch {
			case !ok:
			case strings.HasPrefix(x.Name, "gwapi"):
				// Of the Gateway API's own types those of a kind's parts don't count.
				rest, ok := strings.CutPrefix(strings.ToLower(n.Sel.Name), kind)
				found = found || ok && slices.Contains([]string{"", "list", "spec", "status"}, rest)
				return false
			case foreign(f, x.Name):
				return false // for example Envoy's own word
			}
		case *ast.Ident:
			found = found || strings.Contains(strings.ToLower(n.Name), kind)
		case *ast.BasicLit:
			found = found || strings.Contains(strings.ToLower(n.Value), kind) || strings.Contains(n.Value, plural)
		}
		return !found
	})
	return found
}

// foreign reports whether a name is that of an imported package outside of the product.
func foreign(f *ast.File, name string) bool {
	return slices.ContainsFunc(f.Imports, func(i *ast.ImportSpec) bool {
		return i.Name != nil && i.Name.Name == name && !strings.HasPrefix(i.Path.Value, `"`+module)
	})
}
