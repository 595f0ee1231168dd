// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package clip

import "testing"

func TestText(t *testing.T) {
	for in, want := range map[string]string{"": "", "abc": "abc", "abcd": "abc...", "abä": "ab...", "äb": "äb", "a\nb": "a b", "a\x1b": "a...", "\x1b": "\ufffd", "\u2028": " ", "\u2028a": " ..."} {
		if got := Text(in, 3); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}
