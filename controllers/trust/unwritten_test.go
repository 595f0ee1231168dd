// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package trust

import (
	"slices"
	"strconv"
	"sync"
	"testing"

	"tulle.dev/tulle/internal/lifecycle/plan"
)

// TestUnwritten: changes from several goroutines are all there, sorted, and reported once while nobody reads.
func TestUnwritten(t *testing.T) {
	u := NewUnwritten()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			u.set("ns"+strconv.Itoa(i), "exceeded quota")
			u.set("gone", "x"+strconv.Itoa(i))
			u.List()
		})
	}
	all.Wait()
	if !u.set("gone", "") || u.set("gone", "") || u.set("ns1", "exceeded quota") {
		t.Error("what is new is told wrongly")
	}
	got := u.List()
	if len(got) != 8 || !slices.IsSortedFunc(got, func(a, b plan.Unwritten) int { return int(a.Namespace[2]) - int(b.Namespace[2]) }) {
		t.Errorf("%v", got)
	}
	<-u.Changed()
	select {
	case <-u.Changed():
		t.Error("reported twice")
	default:
	}
}
