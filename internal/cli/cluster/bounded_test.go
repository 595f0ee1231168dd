// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import "testing"

// TestBounded: of an answer without end, no more than the bound is kept, and the command is stopped once.
func TestBounded(t *testing.T) {
	stopped := 0
	b := &bounded{most: 5, full: func() { stopped++ }}
	for i, want := range []string{"abc", "abcab", "abcab"} {
		if n, err := b.Write([]byte("abc")); n != 3 || err != nil {
			t.Fatal(n, err)
		}
		if kept, whole := b.text(); string(kept) != want || whole != (i == 0) {
			t.Errorf("after %d writes: %q, %v", i+1, kept, whole)
		}
	}
	if stopped != 1 {
		t.Errorf("stopped %d times", stopped)
	}
}
