// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import "time"

// Unsettled returns the ids of streams that do not have every resource of a type that they subscribe
// to in its current version, ACKed. A stream that has not spoken of the type counts among them until
// it is older than grace: it may be about to say what it holds. It costs a look at every subscription
// of the type.
func (s *Server) Unsettled(typeURL string, grace time.Duration) map[uint64]bool {
	s.mu.Lock()
	sessions := make([]*session, 0, len(s.sessions))
	for ss := range s.sessions {
		sessions = append(sessions, ss)
	}
	s.mu.Unlock()
	out := map[uint64]bool{}
	now := s.now()
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	for _, ss := range sessions {
		ss.mu.Lock()
		if !ss.settled(typeURL, now.Add(-grace)) {
			out[ss.id] = true
		}
		ss.mu.Unlock()
	}
	return out
}

// settled needs Store.mu and ss.mu.
func (ss *session) settled(typeURL string, before time.Time) bool {
	w := ss.existing(typeURL)
	if w == nil || !w.started {
		return ss.since.Before(before)
	}
	for _, sb := range w.subs {
		if !sb.current() || sb.is(paired|owed) {
			return false
		}
	}
	return true
}
