// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import "testing"

// TestCheckRegex: RE2 has neither look-around nor back references, and no expression may be huge.
func TestCheckRegex(t *testing.T) {
	for expr, good := range map[string]bool{
		"": true, "a+": true, "(?i)/a/[0-9]{1,3}": true, "a{1000}": true, `\pL+`: true,
		"(": false, "a(?=b)": false, `(a)\1`: false, "a{1001}": false, "a{1000}b{1000}": false, `[\pL\pN]{900}`: false, "\xff": false,
	} {
		if got := checkRegex(expr); (got == "") != good {
			t.Errorf("%q: %s", expr, got)
		}
	}
}
