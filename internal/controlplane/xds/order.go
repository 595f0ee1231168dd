// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import "time"

// What may be sent now. Everything here is called with Store.mu and the
// session's mu locked; a turn is one look at one session.
type turn struct {
	ss   *session
	now  time.Time
	refs map[*entry][]*sub // referrers of removed entries; nil until asked for
	// forced breaks a deadlock: the graph of needs has a cycle.
	forced bool
}

type verdict uint8

const (
	clean verdict = iota // the client has it
	wait
	send
	remove
)

func (t *turn) decide(s *sub) verdict {
	cur := s.cur()
	if cur == nil {
		switch {
		case s.is(absent) && !s.is(again):
			return clean
		case (s.held != nil || s.is(offered)) && t.removalWaits(s):
			return wait
		}
		return remove
	}
	if !s.is(again | paired) {
		if t.ss.isRejected(s) {
			return clean
		}
		if s.held != nil && s.held.version == cur.version && !s.is(unsure) {
			s.hold(cur.meta)
			return clean
		}
	}
	if !t.forced && t.updateWaits(s, cur.meta) {
		return wait
	}
	return send
}

// updateWaits: make before break. A resource waits for those that it needs,
// as far as they exist and the client subscribes to them. A version that the
// client rejected has had its answer and is not waited for: otherwise one bad
// resource would freeze all that mention it.
func (t *turn) updateWaits(s *sub, m *meta) bool {
	if len(m.needs) > 0 && t.leadingComes(m.seq) {
		// What the client subscribes to may be about to change: it may not know
		// yet of what is needed, or may just have let go of it.
		return true
	}
	for _, n := range m.needs {
		n = n.live()
		if n == nil || n.cur == nil || n == s.entry {
			continue
		}
		needed := t.ss.find(n)
		if needed == nil {
			continue
		}
		if !t.settled(needed, m.seq) {
			return true
		}
		if c := n.cur.companion; c != nil && c != s.entry {
			if cs := t.ss.find(c); cs != nil && cs.entry.cur != nil && !t.companionSettled(cs) {
				return true
			}
		}
	}
	return false
}

// settled: the client has the current revision, or one that is as new as the
// commit asked about. The latter keeps a resource that changes all the time
// from holding up the others for ever.
func (t *turn) settled(s *sub, seq uint64) bool {
	switch {
	case t.ss.isRejected(s):
		return true
	case s.is(removing | unsure):
		return false
	}
	return s.current() || s.held != nil && !s.held.foreign && s.held.seq >= seq
}

// companionSettled: the client got it after what it accompanies. Further
// changes of it hold nothing up.
func (t *turn) companionSettled(s *sub) bool {
	return !s.is(paired|owed) && (s.held != nil && !s.held.foreign || t.ss.isRejected(s))
}

func (t *turn) leadingComes(seq uint64) bool {
	for _, w := range t.ss.watches {
		if w.kind == nil || !w.kind.Leading {
			continue
		}
		for _, s := range w.subs {
			if s.entry.cur != nil && !t.settled(s, seq) {
				return true
			}
		}
	}
	return false
}

// removalWaits: a resource that the client holds is removed when nothing else
// that it holds, or is just being sent, refers to it.
func (t *turn) removalWaits(s *sub) bool {
	if t.ss.resumed {
		if t.now.Before(t.ss.graceEnd) {
			t.ss.wakeAt(t.ss.graceEnd.Sub(t.now))
			return true // the client has not told all that it holds
		}
		for _, w := range t.ss.watches {
			if w.foreign > 0 && w.rank() > s.watch.rank() {
				return true // who knows what those refer to
			}
		}
	}
	return t.isReferred(s, map[*sub]bool{})
}

// isReferred looks for a reason to keep a removed resource. In a cycle of
// removals one has to be the first: if all wait for one another, the referrers
// that are to be removed themselves are reasons only as far as they are
// referred to by something that stays.
func (t *turn) isReferred(s *sub, seen map[*sub]bool) bool {
	seen[s] = true
	for _, r := range t.referrers(s.entry) {
		if !seen[r] && (!t.forced || r.entry.cur != nil || t.isReferred(r, seen)) {
			return true
		}
	}
	return false
}

// referrers are the subscriptions whose revision, as the client holds it or as
// it is being sent, refers to a removed entry. A removal costs a look at all
// that the session holds, once per turn; nothing else pays for it.
func (t *turn) referrers(e *entry) []*sub {
	if t.refs == nil {
		t.refs = map[*entry][]*sub{}
		for _, w := range t.ss.watches {
			for _, s := range w.subs {
				t.refer(s, s.held)
				t.refer(s, s.sent)
				for _, m := range t.ss.maybe[s] {
					t.refer(s, m)
				}
			}
		}
	}
	return t.refs[e]
}

func (t *turn) refer(s *sub, m *meta) {
	for _, n := range m.references() {
		if n = n.live(); n != nil && n.cur == nil {
			t.refs[n] = append(t.refs[n], s)
		}
	}
}

// wakeAt wakes the session once, later.
func (ss *session) wakeAt(d time.Duration) {
	if ss.timer == nil && !ss.closed {
		ss.timer = time.AfterFunc(d, ss.wake)
	}
}
