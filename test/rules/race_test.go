// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rules

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// notRaced are packages that start goroutines or guard state against them and whose tests the stage
// "race" does not run, with the reason. Everything below test/ is left out: it is no part of the product.
var notRaced = map[string]string{
	"cmd/tulle-proxy":            "has no tests of its own; test/dataplane runs the program",
	"controllers/kinds":          "one sync.OnceValue over a constant table",
	"internal/testing/apiserver": "starts the API server for tests, and is no part of the product",
}

// concurrency returns why a file needs the race detector: it starts goroutines, or it uses locks, atomics or
// groups, which exist only for goroutines. It returns "" if it does neither.
func concurrency(f *ast.File) string {
	for _, i := range f.Imports {
		switch path := strings.Trim(i.Path.Value, `"`); path {
		case "sync", "sync/atomic", "golang.org/x/sync/errgroup", "golang.org/x/sync/singleflight", "golang.org/x/sync/semaphore":
			return "imports " + path
		}
	}
	why := ""
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			why = "has a go statement"
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && n.Sel.Name == "AfterFunc" && (x.Name == "time" || x.Name == "context") {
				why = "calls " + x.Name + ".AfterFunc"
			}
		}
		return why == ""
	})
	return why
}

// goPackage is what the rule needs of a package.
type goPackage struct {
	Dir, ImportPath string
	GoFiles         []string
}

// concurrent returns the packages of the module, by path below it, that need the race detector, and why.
func concurrent(t *testing.T) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=Dir,ImportPath,GoFiles", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := map[string]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return found
		} else if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(p.ImportPath, module)
		if strings.HasPrefix(path, "test/") {
			continue
		}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			if why := concurrency(f); why != "" {
				found[path] = name + " " + why
				break
			}
		}
	}
}

// raced returns the packages of the variable RACE of a Makefile, by path below the module.
func raced(makefile string) []string {
	_, rest, ok := strings.Cut(makefile, "\nRACE := ")
	if !ok {
		return nil
	}
	var all []string
	for line := range strings.Lines(rest) {
		line = strings.TrimSpace(line)
		for _, p := range strings.Fields(strings.TrimSuffix(line, `\`)) {
			all = append(all, strings.TrimPrefix(p, "./"))
		}
		if !strings.HasSuffix(line, `\`) {
			break
		}
	}
	return all
}

// TestRace: the race detector runs over every package that starts goroutines or guards state against them.
func TestRace(t *testing.T) {
	text, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	list, need := raced(string(text)), concurrent(t)
	if len(list) == 0 || len(need) == 0 {
		t.Fatalf("RACE in the Makefile has %d packages, %d need it", len(list), len(need))
	}
	for path, why := range need {
		if !slices.Contains(list, path) && notRaced[path] == "" {
			t.Errorf("%s is not in RACE in the Makefile, but %s", path, why)
		}
	}
	for _, path := range list {
		if need[path] == "" {
			t.Errorf("RACE in the Makefile has %s, which neither starts goroutines nor guards state against them", path)
		}
		if tests, err := filepath.Glob(filepath.Join("../..", path, "*_test.go")); err != nil || len(tests) == 0 {
			t.Errorf("RACE in the Makefile has %s, which has no tests", path)
		}
	}
	for path := range notRaced {
		if need[path] == "" || slices.Contains(list, path) {
			t.Errorf("the exception for %s is not needed; remove it", path)
		}
	}
}

// TestRaceCatches feeds each kind of concurrency to the rule.
func TestRaceCatches(t *testing.T) {
	for text, want := range map[string]bool{
		"package p\nfunc f() { go func() {}() }":                                  true,
		"package p\nimport \"sync\"\nvar m sync.Mutex":                            true,
		"package p\nimport \"sync/atomic\"\nvar n atomic.Int64":                   true,
		"package p\nimport \"golang.org/x/sync/errgroup\"\nvar g errgroup.Group":  true,
		"package p\nimport \"time\"\nfunc f() { time.AfterFunc(1, f) }":           true,
		"package p\nimport \"context\"\nfunc f() { context.AfterFunc(nil, f) }":   true,
		"package p\nimport \"time\"\n// go func\nfunc f() { time.Now(); c := 0 }": false,
	} {
		f, err := parser.ParseFile(token.NewFileSet(), "p.go", text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := concurrency(f); (got != "") != want {
			t.Errorf("%s\n%q", text, got)
		}
	}
	if got := raced("A := x\nRACE := ./a/b ./c \\\n\t./d\nB := ./e\n"); !slices.Equal(got, []string{"a/b", "c", "d"}) {
		t.Errorf("RACE is %v", got)
	}
}
