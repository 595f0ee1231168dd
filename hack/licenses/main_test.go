// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"strings"
	"testing"

	"tulle.dev/tulle/hack/internal/licenses"
)

// A module that cannot be read is reported, and is never counted as allowed: the main module then fails.
func TestUnreadable(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOMODCACHE", t.TempDir())
	for file, problems := range map[string]int{"go.mod": 1, "hack/parts/dns/go.mod": 0} {
		var out strings.Builder
		c := checker{cache: t.TempDir(), known: map[licenses.Module][]string{}, out: &out}
		if err := c.check(t.Context(), file, []licenses.Module{{Path: "example.com/m", Version: "v1.0.0"}}); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(out.String(), "not checked: "+file+" requires example.com/m v1.0.0: ") || c.problems != problems || len(c.known) != 0 {
			t.Errorf("%s: %d problems, %d known, %q", file, c.problems, len(c.known), out.String())
		}
	}
}

// Every module of the repository passes.
func TestRepository(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), false, &out); err != nil {
		t.Errorf("%v\n%s", err, out.String())
	}
}
