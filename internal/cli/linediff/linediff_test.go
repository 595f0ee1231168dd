// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package linediff

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestUnified: the hunks of small texts, as diff -u writes them.
func TestUnified(t *testing.T) {
	for name, c := range map[string]struct{ a, b, want string }{
		"the same":      {"1\n2\n", "1\n2\n", ""},
		"nothing":       {"", "", ""},
		"all new":       {"", "1\n2\n", "@@ -1,0 +1,2 @@\n+1\n+2\n"},
		"all gone":      {"1\n", "", "@@ -1,1 +1,0 @@\n-1\n"},
		"in the middle": {"1\n2\n3\n4\n5\n6\n7\n", "1\n2\n3\nx\n5\n6\n7\n", "@@ -3,3 +3,3 @@\n 3\n-4\n+x\n 5\n"},
		"near each other": {
			"1\n2\n3\n4\n5\n", "x\n2\n3\n4\ny\n",
			"@@ -1,2 +1,2 @@\n-1\n+x\n 2\n@@ -4,2 +4,2 @@\n 4\n-5\n+y\n",
		},
		"one hunk": {"1\n2\n3\n4\n", "x\n2\n3\ny\n", "@@ -1,4 +1,4 @@\n-1\n+x\n 2\n 3\n-4\n+y\n"},
		"an insertion shifts what follows": {
			"1\n2\n3\n4\n5\n6\n", "1\nnew\n2\n3\n4\n5\nx\n",
			"@@ -1,2 +1,3 @@\n 1\n+new\n 2\n@@ -5,2 +6,2 @@\n 5\n-6\n+x\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, Unified(c.a, c.b, 1)); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestUnifiedIsBoth: with enough context the two texts can be read from the result, whatever they are;
// also when they are too long to be compared well.
func TestUnifiedIsBoth(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	text := func(n int) string {
		var s strings.Builder
		for range n {
			s.WriteString(string(rune('a'+rnd.IntN(4))) + "\n")
		}
		return s.String()
	}
	check := func(a, b string) {
		t.Helper()
		got := Unified(a, b, len(a)+len(b))
		var first, second strings.Builder
		for _, l := range lines(got) {
			if l[0] == ' ' || l[0] == '-' {
				first.WriteString(l[1:] + "\n")
			}
			if l[0] == ' ' || l[0] == '+' {
				second.WriteString(l[1:] + "\n")
			}
		}
		if a == b {
			if got != "" {
				t.Fatalf("%q is told to differ from itself:\n%s", a, got)
			}
			return
		}
		if first.String() != a || second.String() != b {
			t.Fatalf("%q, %q:\n%s", a, b, got)
		}
	}
	for range 300 {
		check(text(rnd.IntN(12)), text(rnd.IntN(12)))
	}
	check("x\n"+text(3000), "y\n"+text(3000)+"z\n")
}
