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

// TestUnwritten: concurrent changes are all kept, sorted, and cause one event until it is received.
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
		t.Error("set does not report correctly whether the words are new")
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
