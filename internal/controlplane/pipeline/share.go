// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"container/list"
	"slices"
)

// share gives a limited number of places to keys that groups ask for. While there are not enough places, each group
// has as many as any other one, as far as it asks for them. So a group that asks for no more than max divided by
// the number of groups, less one, has a place for each of its keys, whatever other groups ask for.
//
// A key that several groups ask for takes one place, of one of these groups. In a group, older keys keep their
// places. Keys without a place are remembered, and get one when there is room.
type share[K comparable] struct {
	max     int
	held    int // keys with a place
	waits   int // keys without one
	claims  map[K]*claim[K]
	groups  map[string]*group[K]
	touched map[K]struct{} // since the last settle
}

// claim is a key that at least one group asks for.
type claim[K comparable] struct {
	key K
	// groups ask for it, sorted. The places in their waiting lists are in the same order; there are none while the
	// key has a place.
	groups  []string
	waiting []*list.Element
	payer   *group[K]     // whose place it has; nil: none
	held    *list.Element // in payer.held
}

// group holds claims, the oldest first. It is dropped when it has none.
type group[K comparable] struct {
	name          string
	held, waiting list.List
}

func newShare[K comparable](places int) *share[K] {
	return &share[K]{max: places, claims: map[K]*claim[K]{}, groups: map[string]*group[K]{}, touched: map[K]struct{}{}}
}

// placed reports whether a key has a place.
func (s *share[K]) placed(k K) bool {
	c := s.claims[k]
	return c != nil && c.payer != nil
}

// askers returns the groups that ask for a key, sorted.
func (s *share[K]) askers(k K) []string {
	if c := s.claims[k]; c != nil {
		return c.groups
	}
	return nil
}

// ask says which groups, sorted, ask for a key from now on; none ends the claim. Call settle after the last one.
func (s *share[K]) ask(k K, groups []string) {
	c := s.claims[k]
	switch {
	case c == nil && len(groups) == 0, c != nil && slices.Equal(c.groups, groups):
		return
	case c == nil:
		c = &claim[K]{key: k}
		s.claims[k] = c
		s.waits++
	}
	s.touched[k] = struct{}{}
	former := c.groups
	if c.payer == nil {
		waiting := make([]*list.Element, len(groups))
		for i, name := range groups {
			if at, found := slices.BinarySearch(former, name); found {
				waiting[i] = c.waiting[at]
			} else {
				waiting[i] = s.group(name).waiting.PushBack(c)
			}
		}
		for i, name := range former {
			if _, still := slices.BinarySearch(groups, name); !still {
				s.unlink(s.groups[name], c.waiting[i])
			}
		}
		c.groups, c.waiting = groups, waiting
	} else if c.groups = groups; !slices.Contains(groups, c.payer.name) {
		s.release(c)
		if len(groups) > 0 {
			s.place(c)
		}
	}
	switch {
	case len(groups) == 0:
		s.waits--
		delete(s.claims, k)
	case c.payer == nil && s.waits == 1 && s.held < s.max:
		s.place(c)
	}
}

// settle gives what places there are, and returns all keys for which there was an ask, or whose place came or went,
// since the last time, in no order.
func (s *share[K]) settle() []K {
	if len(s.touched) == 0 {
		return nil
	}
	for s.waits > 0 {
		next, most := s.extremes()
		if s.held >= s.max {
			if most == nil || most.held.Len() <= next.held.Len()+1 {
				break
			}
			s.evict(most.held.Back().Value.(*claim[K]))
		}
		s.place(next.waiting.Front().Value.(*claim[K]))
	}
	out := make([]K, 0, len(s.touched))
	for k := range s.touched {
		out = append(out, k)
	}
	s.touched = map[K]struct{}{}
	return out
}

// extremes returns, of the groups that wait, the one that holds least, and of all groups the one that holds most; nil
// where there is none.
func (s *share[K]) extremes() (next, most *group[K]) {
	for _, g := range s.groups {
		if g.waiting.Len() > 0 && (next == nil || g.held.Len() < next.held.Len() || g.held.Len() == next.held.Len() && g.name < next.name) {
			next = g
		}
		if g.held.Len() > 0 && (most == nil || g.held.Len() > most.held.Len() || g.held.Len() == most.held.Len() && g.name > most.name) {
			most = g
		}
	}
	return next, most
}

// place gives a claim a place of the one of its groups that holds least.
func (s *share[K]) place(c *claim[K]) {
	least := c.groups[0]
	for _, name := range c.groups[1:] {
		if s.load(name) < s.load(least) {
			least = name
		}
	}
	c.payer = s.group(least)
	c.held = c.payer.held.PushBack(c)
	for i, e := range c.waiting {
		s.unlink(s.groups[c.groups[i]], e)
	}
	c.waiting = nil
	s.held++
	s.waits--
	s.touched[c.key] = struct{}{}
}

// release takes a claim's place. The claim is in no list then.
func (s *share[K]) release(c *claim[K]) {
	g, e := c.payer, c.held
	c.payer, c.held = nil, nil
	g.held.Remove(e)
	s.drop(g)
	s.held--
	s.waits++
	s.touched[c.key] = struct{}{}
}

// evict takes a claim's place and lets it wait behind all others of its groups.
func (s *share[K]) evict(c *claim[K]) {
	s.release(c)
	for _, name := range c.groups {
		c.waiting = append(c.waiting, s.group(name).waiting.PushBack(c))
	}
}

func (s *share[K]) unlink(g *group[K], e *list.Element) {
	g.waiting.Remove(e)
	s.drop(g)
}

func (s *share[K]) group(name string) *group[K] {
	g := s.groups[name]
	if g == nil {
		g = &group[K]{name: name}
		s.groups[name] = g
	}
	return g
}

// load is how many places a group has.
func (s *share[K]) load(name string) int {
	if g := s.groups[name]; g != nil {
		return g.held.Len()
	}
	return 0
}

func (s *share[K]) drop(g *group[K]) {
	if g.held.Len()+g.waiting.Len() == 0 {
		delete(s.groups, g.name)
	}
}
