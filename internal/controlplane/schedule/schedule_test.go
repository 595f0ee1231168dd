// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package schedule

import (
	"math/rand/v2"
	"testing"
	"time"
)

// TestSchedule compares a Schedule with a map in which the first key is looked for.
func TestSchedule(t *testing.T) {
	type due struct {
		at  time.Time
		set int
	}
	s, want := New[int](), map[int]due{}
	r := rand.New(rand.NewPCG(1, 2))
	for step := range 20_000 {
		k, at := r.IntN(50), time.Unix(int64(r.IntN(20)), 0)
		if r.IntN(3) == 0 {
			s.Delete(k)
			delete(want, k)
		} else {
			s.Set(k, at)
			want[k] = due{at, step}
		}
		first, found := 0, false
		for k, d := range want {
			f := want[first]
			if !found || d.at.Before(f.at) || d.at.Equal(f.at) && d.set < f.set {
				first, found = k, true
			}
		}
		got, gotAt, ok := s.First()
		if ok != found || ok && (got != first || !gotAt.Equal(want[first].at)) || s.Len() != len(want) {
			t.Fatalf("step %d: first is %d at %v (%v) of %d, want %d at %v (%v) of %d", step, got, gotAt, ok, s.Len(), first, want[first].at, found, len(want))
		}
		d, known := want[k]
		if at, ok := s.At(k); ok != known || !at.Equal(d.at) {
			t.Fatalf("step %d: %d is due at %v (%v), want %v (%v)", step, k, at, ok, d.at, known)
		}
	}
}

// TestCost: each operation takes some 2 log n comparisons at most.
func TestCost(t *testing.T) {
	const n = 20_000
	s := New[int]()
	r := rand.New(rand.NewPCG(1, 2))
	for k := range n {
		s.Set(k, time.Unix(r.Int64N(1000), 0))
	}
	for k := range n {
		s.Set(k, time.Unix(r.Int64N(1000), 0))
	}
	for {
		k, _, ok := s.First()
		if !ok {
			break
		}
		s.Delete(k)
	}
	if got := s.Comparisons(); got > 3*n*2*15 {
		t.Errorf("%d comparisons for %d operations", got, 3*n)
	}
}
