// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"os"
	"regexp/syntax"
	"strings"
	"testing"
)

// TestCheckRegex: RE2 has neither look-around nor back references, no expression may be huge, and what
// Go takes and Envoy doesn't is refused. The real Envoy is asked about the same expressions (test/envoy
// TestExpressions).
func TestCheckRegex(t *testing.T) {
	text, err := os.ReadFile("regexdata/expressions.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		mark, expr := line[0], line[1:]
		_, err := syntax.Parse(expr, syntax.Perl)
		if _, got := new(expressions).check(expr); (got == "") != (mark == '+') || mark == '!' && err != nil {
			t.Errorf("%s: %q, %v", line, got, err)
		}
	}
	for expr, good := range map[string]bool{"": true, "\xff": false, "(?:[a-y][b-z]){999}": false} { // no text; too large
		if _, got := new(expressions).check(expr); (got == "") != good {
			t.Errorf("%q: %s", expr, got)
		}
	}
}
