// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import (
	"slices"
	"strings"
	"testing"
)

// TestAllowed: one minor at a time, in either direction, within a major.
func TestAllowed(t *testing.T) {
	known := Catalog{{Version: "0.2.0"}, {Version: "0.2.3"}, {Version: "0.2.9-rc.1"}, {Version: "0.3.1"}}
	for _, c := range []struct {
		from, to string
		want     string // part of the error; empty: allowed
	}{
		{"", "7.3.1", ""},
		{"0.1.0", "0.1.0", ""},
		{"0.1.0", "0.1.9", ""},
		{"0.1.0", "0.2.0", ""},
		{"0.2.0", "0.1.0", ""},
		{"0.2.0", "0.3.0-rc.1", ""},
		{"0.3.0-alpha.1", "0.2.7-beta", ""},
		{"0.9.0", "0.10.0", ""},
		{"0.1.0", "0.3.0", "0.1.0 can't go to 0.3.0 at once: set spec.version to 0.2.3, then 0.3.0"},
		{"0.1.0", "0.5.0", "set spec.version to 0.2.3, then 0.3.1, then 0.4.x, then 0.5.0"},
		{"0.4.2", "0.2.0", "set spec.version to 0.3.1, then 0.2.0"},
		{"0.1.0", "0.40.0", "0.8.x, then 0.9.x and on, one minor at a time, then 0.40.0"},
		{"0.2.0", "1.2.0", "a new mesh"},
		{"1.0.0", "0.9.0", "a new mesh"},
		{"x", "0.9.0", `"x" is not a version`},
		{"0.1.0", "0.2", `"0.2" is not a version`},
	} {
		err := known.Allowed(c.from, c.to)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s to %s: %v, want %q", c.from, c.to, err, c.want)
		}
	}
	if err := Allowed("0.1.0", "0.4.0"); err == nil || !strings.Contains(err.Error(), "set spec.version to 0.2.x, then 0.3.x, then 0.4.0") {
		t.Errorf("without known releases: %v", err)
	}
}

// TestOrder is Semantic Versioning's own example, and what is not a version.
func TestOrder(t *testing.T) {
	order := []string{
		"0.9.0", "0.10.0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta",
		"1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1", "1.0.0", "1.0.1",
	}
	for i, a := range order {
		for j, b := range order {
			x, ok := parse(a)
			y, also := parse(b)
			if got := x.compare(y); !ok || !also || (got < 0) != (i < j) || (got == 0) != (i == j) {
				t.Errorf("%s against %s: %d", a, b, got)
			}
		}
	}
	for _, v := range []string{
		"", "1", "1.2", "v1.2.3", "1.2.3.4", "1.-2.3", "1.+2.3", "1.2.x", "1.2.99999999999", "1.2.3-", "1.2.3-A",
		"1.2.3-a..b", "1.2.3-a/b", "1.2.3-.a", "1.2.3-" + strings.Repeat("a", 32),
	} {
		if n, ok := parse(v); ok {
			t.Errorf("%q is %v", v, n)
		}
	}
}

// TestKnownAreSteps: each release that is known by itself can be reached from the one before it.
func TestKnownAreSteps(t *testing.T) {
	known := Known("a", "b")
	for i := range known[1:] {
		if err := Allowed(known[i].Version, known[i+1].Version); err != nil {
			t.Error(err)
		}
	}
	if last := known[len(known)-1].Version; last != Current || !slices.ContainsFunc(known, func(r Release) bool { return r.Version == "0.2.0" }) {
		t.Errorf("the newest of %s is not %s", known.Versions(), Current)
	}
}
