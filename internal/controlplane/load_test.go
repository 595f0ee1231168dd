// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"testing"
	"time"
)

// TestUsage: nothing is told of the first minute, and then always the last one.
func TestUsage(t *testing.T) {
	var u usage
	at, used := time.Unix(1000, 0), time.Duration(0)
	for i := range 40 {
		u.add(look{at, used})
		switch got := u.cores(); {
		case i < cpuLooks:
			if got != nil {
				t.Errorf("after %d looks: %v", i+1, *got)
			}
		case i == cpuLooks || i >= 20+cpuLooks:
			want := 0.5
			if i >= 20 {
				want = 0.1
			}
			if got == nil || *got < want-1e-9 || *got > want+1e-9 {
				t.Errorf("after %d looks: %v, want %v", i+1, got, want)
			}
		}
		at = at.Add(cpuEvery)
		if i < 20 {
			used += cpuEvery / 2
		} else {
			used += cpuEvery / 10
		}
	}
}
