// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package golden

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestCases reads one case of two files that a test looks at and one that it forgets.
func TestCases(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "one")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{In: "# A rule in some words.\na: 1\n", "out.yaml": "b: 2\n", "old.yaml": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ran := 0
	Cases(t, filepath.Dir(dir), func(t *testing.T, c *Case) {
		ran++
		if got := string(c.Input(t)); got != "# A rule in some words.\na: 1\n" {
			t.Errorf("in.yaml is %q", got)
		}
		c.Compare(t, "out.yaml", []byte("b: 2\n"))
		if _, ok := c.Optional(t, "requests.yaml"); ok {
			t.Error("a file that is not there was read")
		}
		got, err := c.unseen()
		if want := []string{filepath.Join(dir, "old.yaml")}; err != nil || !slices.Equal(got, want) {
			t.Errorf("stale are %v (%v), want %v", got, err, want)
		}
		c.seen["old.yaml"] = true // this test has seen it
	})
	if ran != 1 {
		t.Errorf("ran %d cases, want 1", ran)
	}
}
