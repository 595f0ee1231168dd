// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Store holds the resources to be served and who subscribes to which. Commit
// is for one writer; everything else may be called from anywhere.
type Store struct {
	kinds map[string]*kind // by type URL; the map does not change
	known atomic.Int64     // how many resources there are

	mu      sync.RWMutex
	seq     uint64   // of the last commit; 0 before the first
	pending []*entry // changed, their sessions not yet told
	nextID  uint64
	told    func() // set once by the Server: tells sessions of pending, with mu locked
}

// kind is one type and its entries.
type kind struct {
	Type
	rank    int               // its place in the list given to NewStore
	entries map[string]*entry // guarded by Store.mu
}

// entry is a name that exists, that somebody subscribes to, or that a resource
// that exists refers to. Guarded by Store.mu, except as noted.
type entry struct {
	key  Key
	kind *kind
	id   uint64 // orders the subscriptions of a session; never used twice

	cur    *revision // nil: there is no such resource
	subs   []*sub
	needed int  // how many current revisions refer to it
	dead   bool // no longer in kind.entries
	queued bool // in Store.pending

	progress bool // in progress.keys; guarded by progress.mu
}

// revision is one version of a resource. Immutable.
type revision struct {
	*meta
	frame []byte // see encode
	body  int
	// variants are those of the resource, by place; nil for most resources and for each variant.
	variants map[string]*revision
}

// meta is what sessions remember of a revision without keeping its bytes.
// Immutable.
type meta struct {
	version   string
	seq       uint64 // the commit that made it; 0 if foreign
	at        int64  // when, in Unix nanoseconds
	needs     []*entry
	companion *entry
	foreign   bool // a version that a client brought with it, of unknown needs
}

// NewStore returns an empty store for the given types, in the order of
// reference: resources mostly refer to types that come earlier in the list.
// Updates go out in that order and removals in the opposite one, where their
// Needs leave a choice.
func NewStore(types ...Type) *Store {
	s := &Store{kinds: map[string]*kind{}}
	for i, t := range types {
		s.kinds[t.URL] = &kind{Type: t, rank: i, entries: map[string]*entry{}}
	}
	return s
}

// Commit applies changes all at once and returns the number of the commit, or
// applies nothing and returns an error. A resource that is set to the version
// it has is left as it is. Before the first Commit, which may be empty, a
// Server serves nobody: a store that is not filled yet would take everything
// away from proxies that reconnect.
func (s *Store) Commit(changes ...Change) (uint64, error) {
	revisions := make([]*revision, len(changes))
	now := time.Now().UnixNano()
	for i := range changes {
		c := &changes[i]
		if err := c.validate(s.kinds); err != nil {
			return 0, fmt.Errorf("commit: %w", err)
		}
		if c.Remove {
			continue
		}
		revisions[i] = s.revise(c.Resource, now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	for i := range changes {
		s.apply(&changes[i].Resource, revisions[i])
	}
	if s.told != nil {
		s.told()
	} else {
		for _, e := range s.pending {
			e.queued = false
			s.collect(e)
		}
		s.pending = nil
	}
	return s.seq, nil
}

// revise makes the revision of a resource and those of its variants. What the store has the same version
// of already has no bytes: mostly they are not needed.
func (s *Store) revise(r Resource, now int64) *revision {
	if r.Version == "" {
		r.Version = VersionOf(r.Body)
	}
	rev := &revision{meta: &meta{version: r.Version, at: now}}
	if !s.has(r.Key, "", r.Version) {
		rev.frame, rev.body = encode(&r)
	}
	for _, v := range r.Variants {
		at := Resource{Key: r.Key, Version: v.Version, Body: v.Body}
		if at.Version == "" {
			at.Version = VersionOf(at.Body)
		}
		vr := &revision{meta: &meta{version: at.Version, at: now}}
		if !s.has(r.Key, v.Place, at.Version) {
			vr.frame, vr.body = encode(&at)
		}
		if rev.variants == nil {
			rev.variants = make(map[string]*revision, len(r.Variants))
		}
		rev.variants[v.Place] = vr
	}
	return rev
}

// has tells whether the store has a version of a resource, or of its variant at place.
func (s *Store) has(k Key, place, version string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e := s.kinds[k.TypeURL].entries[k.Name]
	if e == nil || e.cur == nil {
		return false
	}
	rev := e.cur
	if place != "" {
		rev = rev.variants[place]
	}
	return rev != nil && rev.version == version
}

// fill gives bytes to what has none: those that old, which may be nil, has of the same version. Of a
// resource that was set twice in one commit old may be another one by now.
func (rev *revision) fill(r *Resource, old *revision) {
	fill := func(to, from *revision, body []byte) {
		switch {
		case to.frame != nil:
		case from != nil && from.version == to.version:
			to.frame, to.body = from.frame, from.body
		default:
			to.frame, to.body = encode(&Resource{Key: r.Key, Version: to.version, Body: body})
		}
	}
	fill(rev, old, r.Body)
	for _, v := range r.Variants {
		var from *revision
		if old != nil {
			from = old.variants[v.Place]
		}
		fill(rev.variants[v.Place], from, v.Body)
	}
}

// same tells whether two revisions, neither nil, have the same versions at all places.
func (rev *revision) same(old *revision) bool {
	return rev.version == old.version && maps.EqualFunc(rev.variants, old.variants, func(a, b *revision) bool { return a.version == b.version })
}

// at is the revision for clients at places, of which the first that there is a variant for counts; nil
// if there is no such resource. Store.mu must be locked.
func (e *entry) at(places []string) *revision {
	if e.cur != nil && len(e.cur.variants) > 0 {
		for _, p := range places {
			if v := e.cur.variants[p]; v != nil {
				return v
			}
		}
	}
	return e.cur
}

func (s *Store) apply(r *Resource, rev *revision) {
	e := s.kinds[r.TypeURL].entries[r.Name]
	if rev == nil && (e == nil || e.cur == nil) || rev != nil && e != nil && e.cur != nil && rev.same(e.cur) {
		return
	}
	if e == nil {
		e = s.entry(r.Key)
	}
	old := e.cur
	e.cur = rev
	switch {
	case old == nil:
		s.known.Add(1)
	case rev == nil:
		s.known.Add(-1)
	}
	if rev != nil {
		rev.fill(r, old)
		rev.seq = s.seq
		for _, v := range rev.variants {
			v.seq = s.seq
		}
		rev.needs = make([]*entry, 0, len(r.Needs))
		for _, k := range r.Needs {
			n := s.entry(k)
			n.needed++
			rev.needs = append(rev.needs, n)
		}
		if r.Companion != (Key{}) {
			rev.companion = s.entry(r.Companion)
			rev.companion.needed++
		}
	}
	if old != nil {
		for _, n := range old.references() {
			n.needed--
			s.collect(n)
		}
	}
	if !e.queued {
		e.queued = true
		s.pending = append(s.pending, e)
	}
}

// references are the entries that a revision needs or is accompanied by.
func (m *meta) references() []*entry {
	if m == nil {
		return nil
	}
	if m.companion == nil {
		return m.needs
	}
	return append(slices.Clip(m.needs), m.companion)
}

// entry finds or makes an entry.
func (s *Store) entry(k Key) *entry {
	kd := s.kinds[k.TypeURL]
	e := kd.entries[k.Name]
	if e == nil {
		s.nextID++
		e = &entry{key: Key{kd.URL, k.Name}, kind: kd, id: s.nextID}
		kd.entries[k.Name] = e
	}
	return e
}

// collect drops an entry that nothing speaks of any more.
func (s *Store) collect(e *entry) {
	if e.cur == nil && len(e.subs) == 0 && e.needed == 0 && !e.queued && !e.dead {
		e.dead = true
		delete(e.kind.entries, e.key.Name)
	}
}

// live is the entry of the same key that is in the store now, or nil.
func (e *entry) live() *entry {
	if !e.dead {
		return e
	}
	return e.kind.entries[e.key.Name]
}

// Seq is the number of the last commit; 0 means that there was none.
func (s *Store) Seq() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.seq
}

// Get returns a resource as it was committed. Its Body must not be changed.
func (s *Store) Get(k Key) (Resource, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if kd := s.kinds[k.TypeURL]; kd != nil {
		if e := kd.entries[k.Name]; e != nil && e.cur != nil {
			return e.resource(), true
		}
	}
	return Resource{}, false
}

// List returns the resources of a type, sorted by name.
func (s *Store) List(typeURL string) []Resource {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var l []Resource
	if kd := s.kinds[typeURL]; kd != nil {
		for _, e := range kd.entries {
			if e.cur != nil {
				l = append(l, e.resource())
			}
		}
	}
	slices.SortFunc(l, func(a, b Resource) int { return strings.Compare(a.Name, b.Name) })
	return l
}

// Len returns how many resources of a type there are.
func (s *Store) Len(typeURL string) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	if kd := s.kinds[typeURL]; kd != nil {
		for _, e := range kd.entries {
			if e.cur != nil {
				n++
			}
		}
	}
	return n
}

func (e *entry) resource() Resource {
	r := Resource{Key: e.key, Version: e.cur.version, Body: e.cur.frame[e.cur.body:]}
	for _, n := range e.cur.needs {
		r.Needs = append(r.Needs, n.key)
	}
	if c := e.cur.companion; c != nil {
		r.Companion = c.key
	}
	for _, place := range slices.Sorted(maps.Keys(e.cur.variants)) {
		v := e.cur.variants[place]
		r.Variants = append(r.Variants, Variant{Place: place, Version: v.version, Body: v.frame[v.body:]})
	}
	return r
}
