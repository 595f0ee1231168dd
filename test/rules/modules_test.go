// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rules

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// TestRequirements: what this module imports is a requirement of its own in go.mod, not an indirect one.
// hack/check-modules asks "go mod tidy" for every module; this works without anything to fetch.
func TestRequirements(t *testing.T) {
	run := func(args ...string) *json.Decoder {
		cmd := exec.CommandContext(t.Context(), "go", args...)
		cmd.Dir = "../.."
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go %s: %v", strings.Join(args, " "), err)
		}
		return json.NewDecoder(strings.NewReader(string(out)))
	}
	var file struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := run("mod", "edit", "-json").Decode(&file); err != nil {
		t.Fatal(err)
	}
	indirect := map[string]bool{}
	for _, r := range file.Require {
		indirect[r.Path] = r.Indirect
	}
	moduleOf, imported := map[string]string{}, map[string]string{}
	for d := run("list", "-deps", "-test", "-json=ImportPath,Imports,Module", "./..."); ; {
		var p struct {
			ImportPath string
			Imports    []string
			Module     *struct {
				Path string
				Main bool
			}
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		switch {
		case p.Module == nil: // of the standard library, or made for a test
		case p.Module.Main:
			for _, i := range p.Imports {
				imported[i] = p.ImportPath
			}
		default:
			moduleOf[p.ImportPath] = p.Module.Path
		}
	}
	looked := 0
	for path, by := range imported {
		m, foreign := moduleOf[path]
		if !foreign {
			continue
		}
		looked++
		if mark, required := indirect[m]; mark || !required {
			t.Errorf("%s imports %s, but go.mod has %s as an indirect requirement: run go mod tidy", by, path, m)
		}
	}
	if looked == 0 {
		t.Error("nothing is imported from other modules")
	}
}
