// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import "slices"

// Relocate asks Options.Places again where each client is, and sends those that have moved what they are
// to have there. It costs a look at every stream, and at every subscription of those that have moved. It
// may be called from anywhere.
func (s *Server) Relocate() {
	s.mu.Lock()
	sessions := make([]*session, 0, len(s.sessions))
	for ss := range s.sessions {
		sessions = append(sessions, ss)
	}
	s.mu.Unlock()
	var touched []*entry
	s.store.mu.Lock()
	for _, ss := range sessions {
		ss.mu.Lock()
		moved := s.relocate(ss)
		ss.mu.Unlock()
		if len(moved) > 0 {
			ss.wake()
		}
		touched = append(touched, moved...)
	}
	s.store.mu.Unlock()
	s.progress.note(touched)
}

// relocate returns the entries of which the client gets another variant than before. Store.mu and ss.mu
// must be locked.
func (s *Server) relocate(ss *session) (moved []*entry) {
	before := ss.places
	if ss.closed || !s.locate(ss) {
		return nil
	}
	for _, w := range ss.watches {
		for _, sb := range w.subs {
			if sb.entry.at(before) != sb.entry.at(ss.places) {
				sb.queue()
				moved = append(moved, sb.entry)
			}
		}
	}
	return moved
}

// locate asks where the client is and tells whether that has changed. ss.mu must be locked.
func (s *Server) locate(ss *session) bool {
	if s.opts.Places == nil {
		return false
	}
	places := s.opts.Places(ss.principal)
	if slices.Equal(places, ss.places) {
		return false
	}
	ss.places = places
	return true
}
