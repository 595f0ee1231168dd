// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package olm

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const levelsPage = "docs/operating/capability-levels.md"

// level is a section of the page.
type level struct {
	name   string
	lines  int
	proven bool
}

var (
	levelTitle = regexp.MustCompile(`^## Level ([1-5]): (.+)$`)
	proof      = regexp.MustCompile("`([a-z0-9/]+) (Test[A-Za-z0-9]+)`")
)

// TestCapability: the bundle claims the highest level that the page proves, and
// the tests that the page names exist.
func TestCapability(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(repo, levelsPage))
	if err != nil {
		t.Fatal(err)
	}
	levels := readLevels(t, string(page))
	if len(levels) != 5 {
		t.Fatalf("want five levels, found %d", len(levels))
	}
	claim := ""
	for _, l := range levels {
		if l.lines < 4 {
			t.Errorf("level %q has %d lines", l.name, l.lines)
		}
		if !l.proven {
			break
		}
		claim = l.name
	}
	csv := bundle(t, write(t, generate(t))).CSV
	if got := csv.Annotations["capabilities"]; got != claim {
		t.Errorf("the bundle claims %q; the page proves %q", got, claim)
	}
}

// TestReadLevels: a line without proof, or with one that doesn't exist, proves nothing.
func TestReadLevels(t *testing.T) {
	for name, c := range map[string]struct {
		line   string
		proven bool
	}{
		"proven":                  {"| a | b | `hack/bundle/olm TestReadLevels` |", true},
		"not yet":                 {"| a | b | not yet |", false},
		"half: not yet, a folder": {"| a | b | not yet: partly (`hack/bundle/olm TestReadLevels`) |", false},
		"nothing":                 {"| a | b | |", false},
	} {
		levels := readLevels(t, "## Level 1: One\n\n| line | in Tulle | proof |\n|---|---|---|\n"+c.line+"\n")
		if len(levels) != 1 || levels[0].lines != 1 || levels[0].proven != c.proven {
			t.Errorf("%s: %+v", name, levels)
		}
	}
	if testExists("hack/bundle/olm", "TestNobodyWroteThis") || testExists("no/such/folder", "TestReadLevels") {
		t.Error("a test that does not exist is found")
	}
}

func readLevels(t *testing.T, page string) []level {
	t.Helper()
	var levels []level
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if m := levelTitle.FindStringSubmatch(line); m != nil {
			levels = append(levels, level{name: m[2], proven: true})
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") || len(levels) == 0 || strings.HasPrefix(line, "|--") || strings.TrimSpace(cells[0]) == "line" {
			continue
		}
		l := &levels[len(levels)-1]
		l.lines++
		last := strings.TrimSpace(cells[len(cells)-1])
		proofs := proof.FindAllStringSubmatch(last, -1)
		if len(proofs) == 0 || strings.Contains(last, "not yet") {
			l.proven = false
		}
		for _, p := range proofs {
			if !testExists(p[1], p[2]) {
				t.Errorf("%q names %s %s, which does not exist", strings.TrimSpace(cells[0]), p[1], p[2])
			}
		}
	}
	return levels
}

// testExists tells whether a package of the repository has a test.
func testExists(folder, name string) bool {
	files, err := filepath.Glob(filepath.Join(repo, folder, "*_test.go"))
	if err != nil {
		return false
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(text), "\nfunc "+name+"(t *testing.T)") {
			return true
		}
	}
	return false
}
