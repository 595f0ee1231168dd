// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package referenced

import (
	"sync"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
)

// signals gathers changes of metadata until the Stage takes them. It implements source.Referenced. Safe for
// concurrent use.
type signals struct {
	news chan struct{} // holds one token when there may be something to take

	mu        sync.Mutex
	wanted    map[Ref]struct{}     // guarded by mu
	changed   map[Ref]string       // guarded by mu; the resource version, "" if deleted
	unwatched map[source.Kind]bool // guarded by mu
}

func newSignals() *signals {
	return &signals{news: make(chan struct{}, 1), wanted: map[Ref]struct{}{}, changed: map[Ref]string{}, unwatched: map[source.Kind]bool{}}
}

func (s *signals) want(r Ref, wanted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if wanted {
		s.wanted[r] = struct{}{}
	} else {
		delete(s.wanted, r)
	}
}

func (s *signals) Wanted(kind source.Kind, k model.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.wanted[Ref{kind, k}]
	return ok
}

func (s *signals) Changed(kind source.Kind, k model.Key, version string) {
	s.mu.Lock()
	if _, ok := s.wanted[Ref{kind, k}]; ok {
		s.changed[Ref{kind, k}] = version
	}
	s.mu.Unlock()
	s.tell()
}

func (s *signals) Listed(kind source.Kind, versions map[model.Key]string) {
	s.mu.Lock()
	for r := range s.wanted {
		if r.Kind == kind {
			s.changed[r] = versions[r.Key]
		}
	}
	s.mu.Unlock()
	s.tell()
}

func (s *signals) Unwatched(kind source.Kind) {
	s.mu.Lock()
	s.unwatched[kind] = true
	s.mu.Unlock()
	s.tell()
}

func (s *signals) tell() {
	select {
	case s.news <- struct{}{}:
	default:
	}
}

// take returns what has changed since the last call.
func (s *signals) take() (changed map[Ref]string, unwatched map[source.Kind]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	changed, unwatched = s.changed, s.unwatched
	s.changed, s.unwatched = map[Ref]string{}, map[source.Kind]bool{}
	return changed, unwatched
}
