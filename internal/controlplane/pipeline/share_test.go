// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// TestShare: whatever the history, all places are used while a key waits, no group that waits has two places fewer
// than another one, each place is of a group that asks for its key, and what a settle returns is all that changed.
func TestShare(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range 60 {
		rnd := rand.New(rand.NewPCG(seed, uint64(round)))
		s := newShare[int](1 + rnd.IntN(12))
		wants, had := map[int][]string{}, map[int]bool{}
		for step := range 200 {
			asked := map[int]bool{}
			for range 1 + rnd.IntN(6) {
				k := rnd.IntN(40)
				var by []string
				for _, g := range []string{"a", "b", "c", "d"}[:1+rnd.IntN(4)] {
					if rnd.IntN(2) == 0 {
						by = append(by, g)
					}
				}
				s.ask(k, by)
				asked[k] = true
				if delete(wants, k); by != nil {
					wants[k] = by
				}
			}
			returned := map[int]bool{}
			for _, k := range s.settle() {
				returned[k] = true
			}
			where := fmt.Sprintf("seed %d, round %d, step %d", seed, round, step)
			checkShare(t, where, s, wants)
			for k := range 40 {
				if s.placed(k) != had[k] && !returned[k] {
					t.Fatalf("%s: key %d is not returned", where, k)
				}
				had[k] = s.placed(k)
			}
			for k := range wants {
				s.ask(k, slices.Clone(wants[k]))
			}
			if again := s.settle(); len(again) > 0 {
				t.Fatalf("%s: asked for the same, it returns %v", where, again)
			}
		}
		for k := range wants {
			s.ask(k, nil)
		}
		s.settle()
		if s.held+s.waits+len(s.claims)+len(s.groups) > 0 {
			t.Fatalf("something is left: %+v", s)
		}
	}
}

func checkShare(t *testing.T, where string, s *share[int], wants map[int][]string) {
	t.Helper()
	held, waiting, places := map[string]int{}, map[string]int{}, 0
	for k, by := range wants {
		if !s.placed(k) {
			for _, g := range by {
				waiting[g]++
			}
			continue
		}
		payer := s.claims[k].payer.name
		if !slices.Contains(by, payer) {
			t.Fatalf("%s: key %d has a place of %s, but %v ask for it", where, k, payer, by)
		}
		held[payer]++
		places++
	}
	if places != s.held || len(wants)-places != s.waits || len(s.claims) != len(wants) {
		t.Fatalf("%s: counted %d and %d of %d, want %d and %d of %d", where, s.held, s.waits, len(s.claims), places, len(wants)-places, len(wants))
	}
	if places != min(s.max, len(wants)) {
		t.Fatalf("%s: %d places are taken of %d, for %d keys", where, places, s.max, len(wants))
	}
	for g := range waiting {
		for other, n := range held {
			if n > held[g]+1 {
				t.Fatalf("%s: %s has %d places, while %s waits and has %d", where, other, n, g, held[g])
			}
		}
	}
	groups := map[string]bool{}
	for _, by := range wants {
		for _, g := range by {
			groups[g] = true
		}
	}
	for g := range groups {
		asks := 0
		for _, by := range wants {
			if slices.Contains(by, g) {
				asks++
			}
		}
		if asks <= s.max/len(groups)-1 && waiting[g] > 0 {
			t.Fatalf("%s: %s asks for %d of %d and waits for %d: %v", where, g, asks, s.max, waiting[g], slices.Sorted(maps.Keys(groups)))
		}
	}
}

// TestShareKeepsOldest: the newest keys of a group make room, and come back first when there is room again.
func TestShareKeepsOldest(t *testing.T) {
	s := newShare[int](10)
	for k := range 12 {
		s.ask(k, []string{"a"})
	}
	s.settle()
	for k := 100; k < 103; k++ {
		s.ask(k, []string{"b"})
	}
	s.settle()
	placed := func() (out []int) {
		for k := range s.claims {
			if s.placed(k) {
				out = append(out, k)
			}
		}
		slices.Sort(out)
		return out
	}
	if got, want := placed(), []int{0, 1, 2, 3, 4, 5, 6, 100, 101, 102}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	s.ask(100, nil)
	s.settle()
	if got, want := placed(), []int{0, 1, 2, 3, 4, 5, 6, 10, 101, 102}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v: first comes who waits longest", got, want)
	}
}
