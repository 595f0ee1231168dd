// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import "time"

// A commit marks what it changed in the sessions at once while they keep up.
// When they don't, because many are still to look at what they were woken for
// before, telling them of every single commit would only wake them more
// often: then commits are gathered, for longer and longer, until the backlog
// is gone or Options.MaxWindow has passed. What is gathered is sent once.

const firstWindow = 5 * time.Millisecond

// tell is called with Store.mu locked, after each commit.
func (s *Server) tell() {
	switch {
	case !s.behind():
		s.fanOut()
	case !s.gathering:
		s.gathering = true
		s.window, s.waited = firstWindow, 0
		time.AfterFunc(s.window, s.gathered)
	}
}

// behind says whether the sessions have a backlog worth waiting for: a share
// of them, so that a few slow ones count for nothing.
func (s *Server) behind() bool {
	return s.backlog.Load() > 16+s.streams.Load()/8
}

// gathered ends a window, or widens it.
func (s *Server) gathered() {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.waited += s.window
	if s.behind() && s.waited < s.opts.MaxWindow {
		s.window = min(2*s.window, s.opts.MaxWindow-s.waited)
		time.AfterFunc(s.window, s.gathered)
		return
	}
	s.gathering = false
	if len(s.store.pending) > 0 {
		s.metrics.gathered.Inc()
		s.fanOut()
	}
}

// fanOut marks the pending entries in the sessions that subscribe to them.
// Store.mu is locked all along, so that no session sees half a commit.
func (s *Server) fanOut() {
	pending := s.store.pending
	s.store.pending = nil
	for _, e := range pending {
		e.queued = false
		for _, sb := range e.subs {
			ss := sb.watch.session
			ss.mu.Lock()
			if sb.is(charged) && e.cur != nil { // it exists now
				sb.state &^= charged
				ss.owner.refund(e.key.Name)
			}
			news := e.cur == nil || e.cur.variants == nil || !sb.current()
			if news {
				sb.queue()
			}
			ss.mu.Unlock()
			if news { // a change of one variant wakes only those that get it
				ss.wake()
			}
		}
	}
	s.progress.note(pending)
	for _, e := range pending {
		s.store.collect(e)
	}
}
