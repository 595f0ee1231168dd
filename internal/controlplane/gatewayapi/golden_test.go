// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden translates testdata/CASE/in.yaml and compares with out.yaml (the model) and status.yaml
// (the verdicts). The first line of in.yaml says which rule the case shows.
func TestGolden(t *testing.T) {
	cases, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, c := range cases {
		if c.Name() == "fuzz" {
			continue
		}
		ran++
		t.Run(c.Name(), func(t *testing.T) { golden(t, filepath.Join("testdata", c.Name())) })
	}
	if ran < 40 {
		t.Errorf("%d cases ran", ran)
	}
}

func golden(t *testing.T, dir string) {
	in, err := os.ReadFile(filepath.Join(dir, "in.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(in), "\n")
	if !strings.HasPrefix(first, "# ") || !strings.Contains(first, "https://") {
		t.Errorf("in.yaml must begin with a comment that says which rule it shows and where the rule is written, not with %q", first)
	}
	w, err := readWorld(in, strict)
	if err != nil {
		t.Fatal(err)
	}
	out, told := w.evaluate()
	check(t, w, out, told)
	for seed := range uint64(4) {
		o, v := w.shuffled(seed).evaluate()
		if d := cmp.Diff(string(render(t, out)), string(render(t, o))); d != "" {
			t.Errorf("the order of the input shows in the model (seed %d):\n%s", seed, d)
		}
		if d := cmp.Diff(string(render(t, told)), string(render(t, v))); d != "" {
			t.Errorf("the order of the input shows in the verdicts (seed %d):\n%s", seed, d)
		}
	}
	compare(t, filepath.Join(dir, "out.yaml"), render(t, out))
	compare(t, filepath.Join(dir, "status.yaml"), render(t, told))
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !slices.Contains([]string{"in.yaml", "out.yaml", "status.yaml"}, f.Name()) {
			t.Errorf("stale file %s", f.Name())
		}
	}
}

func compare(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v; run the test with -update and read what it writes", err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, d)
	}
}

// render writes YAML for readers: without empty fields, with keys and conditions on one line.
func render(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	if tree = prune(tree); tree == nil {
		tree = map[string]any{}
	}
	b, err = yaml.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if x = prune(x); x == nil {
				delete(v, k)
			} else {
				v[k] = x
			}
		}
		if len(v) == 0 {
			return nil
		}
		return short(v)
	case []any:
		for i := range v {
			if v[i] = prune(v[i]); v[i] == nil {
				v[i] = map[string]any{}
			}
		}
		if len(v) == 0 {
			return nil
		}
	case string:
		if v == "" {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	}
	return v
}

// short spells model.Key, model.PortKey, model.Object and conditions as people do.
func short(v map[string]any) any {
	is := func(keys ...string) bool {
		for _, k := range keys {
			if _, ok := v[k]; !ok {
				return false
			}
		}
		return len(v) == len(keys)
	}
	switch {
	case is("Namespace", "Name"):
		return fmt.Sprintf("%v/%v", v["Namespace"], v["Name"])
	case is("Service", "Port"):
		return fmt.Sprintf("%v:%v", v["Service"], v["Port"])
	case is("Kind", "Namespace", "Name"):
		return fmt.Sprintf("%v/%v/%v", v["Kind"], v["Namespace"], v["Name"])
	case is("type", "status", "reason", "message", "observedGeneration"):
		return fmt.Sprintf("%v %v, generation %v, %v: %v", v["type"], v["status"], v["observedGeneration"], v["reason"], v["message"])
	case is("type", "status", "reason", "message"):
		return fmt.Sprintf("%v %v, %v: %v", v["type"], v["status"], v["reason"], v["message"])
	}
	return v
}

func newLines(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }
