// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controllers

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// whole are the functions that list objects from the API server at once, with the reason why tenants can't make the
// answer large. All others use package pages.
var whole = map[string]string{
	"mesh.lookAtControlPlane": "Deployments and pods of the operator's own namespace",
	"mesh.lookAtImages":       "pods of a DaemonSet in the operator's own namespace",
	"mesh.lookAtRequests":     "CertificateRequests of the operator's own namespace",
}

// TestListsAreInPages: what the operator lists from the API server is listed in pages, unless tenants can't write it.
// So is what its caches list.
func TestListsAreInPages(t *testing.T) {
	found := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if n := cachesIn(f); n != 0 {
			t.Errorf("%s makes options of %d caches that do not list in pages: use small", path, n)
		}
		for _, decl := range f.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && listsLive(fn) {
				found[f.Name.Name+"."+fn.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name := range found {
		if whole[name] == "" {
			t.Errorf("%s lists objects from the API server at once: use pages.Each", name)
		}
	}
	for name := range whole {
		if !found[name] {
			t.Errorf("%s lists nothing at once", name)
		}
	}
}

// listsLive tells whether a function calls List of the client Live, or of a manager's API reader.
func listsLive(fn *ast.FuncDecl) bool {
	found := false
	ast.Inspect(fn, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		list, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || list.Sel.Name != "List" {
			return true
		}
		switch of := list.X.(type) {
		case *ast.SelectorExpr:
			found = found || of.Sel.Name == "Live"
		case *ast.Ident:
			found = found || of.Name == "live"
		case *ast.CallExpr:
			s, ok := of.Fun.(*ast.SelectorExpr)
			found = found || ok && s.Sel.Name == "GetAPIReader"
		}
		return true
	})
	return found
}

// cachesIn counts the cache.Options of a file that are not given to small.
func cachesIn(f *ast.File) (n int) {
	ast.Inspect(f, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.CallExpr:
			fn, ok := node.Fun.(*ast.Ident)
			return !ok || fn.Name != "small"
		case *ast.CompositeLit:
			of, ok := node.Type.(*ast.SelectorExpr)
			if !ok || of.Sel.Name != "Options" {
				return true
			}
			if x, ok := of.X.(*ast.Ident); ok && x.Name == "cache" {
				n++
			}
		}
		return true
	})
	return n
}
