// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the expected files of golden tests instead of comparing with them")

// In is the name of a case's input.
const In = "in.yaml"

// Case is one directory. It belongs to the test that Cases runs it in.
type Case struct {
	Name string
	dir  string
	seen map[string]bool
}

// Cases runs f for every directory in root as a subtest, then fails for files that f took no notice
// of (or removes them with -update). A root without cases fails.
func Cases(t *testing.T, root string, f func(t *testing.T, c *Case)) {
	t.Helper()
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for _, e := range entries {
		if !e.IsDir() {
			t.Errorf("%s: only directories belong in %s", e.Name(), root)
			continue
		}
		cases++
		t.Run(e.Name(), func(t *testing.T) {
			c := &Case{Name: e.Name(), dir: filepath.Join(root, e.Name()), seen: map[string]bool{}}
			f(t, c)
			c.stale(t)
		})
	}
	if cases == 0 {
		t.Fatalf("no cases in %s", root)
	}
}

// Input reads the case's In. It fails unless the first line is a comment of some words.
func (c *Case) Input(t *testing.T) []byte {
	t.Helper()
	b, ok := c.Optional(t, In)
	if !ok {
		t.Fatalf("%s has no %s", c.dir, In)
	}
	first, _, _ := strings.Cut(string(b), "\n")
	if !strings.HasPrefix(first, "# ") || len(strings.Fields(first)) < 5 {
		t.Errorf("%s: the first line must be a comment with the rule that the case shows", filepath.Join(c.dir, In))
	}
	return b
}

// Optional reads a file of the case that need not exist.
func (c *Case) Optional(t *testing.T, name string) ([]byte, bool) {
	t.Helper()
	c.seen[name] = true
	b, err := os.ReadFile(filepath.Join(c.dir, name))
	if os.IsNotExist(err) {
		return nil, false
	}
	if err != nil {
		t.Fatal(err)
	}
	return b, true
}

// Compare fails where got differs from the file, or writes the file with -update.
func (c *Case) Compare(t *testing.T, name string, got []byte) {
	t.Helper()
	want, ok := c.Optional(t, name)
	if *update {
		if err := os.WriteFile(filepath.Join(c.dir, name), got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !ok {
		t.Fatalf("%s is missing: run this test with -update and look at what it writes", filepath.Join(c.dir, name))
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", filepath.Join(c.dir, name), diff)
	}
}

func (c *Case) stale(t *testing.T) {
	t.Helper()
	paths, err := c.unseen()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if !*update {
			t.Errorf("%s is stale: nothing reads it", path)
		} else if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// unseen are the files that were neither read nor compared.
func (c *Case) unseen() ([]string, error) {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return nil, err
	}
	var paths []string
	for _, e := range entries {
		if !c.seen[e.Name()] {
			paths = append(paths, filepath.Join(c.dir, e.Name()))
		}
	}
	return paths, nil
}
