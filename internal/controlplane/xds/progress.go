// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Nack is a stream that rejected the current version of a resource.
type Nack struct {
	Principal Principal
	StreamID  uint64
	NodeID    string
	Version   string
	Err       string
}

// Acks returns how many streams subscribe to a resource, how many of them have
// ACKed its current version (or, if there is no such resource, that there is
// none), and who rejected it, sorted by stream. It costs a look at each
// subscriber of that one resource.
func (s *Server) Acks(k Key) (needed, acked int, nacks []Nack) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	kd := s.store.kinds[k.TypeURL]
	if kd == nil || kd.entries[k.Name] == nil {
		return 0, 0, nil
	}
	e := kd.entries[k.Name]
	for _, sb := range e.subs {
		ss := sb.watch.session
		ss.mu.Lock()
		if sb.current() && !sb.is(paired|owed) {
			acked++
		} else if ss.isRejected(sb) {
			r := ss.rejected[sb]
			nacks = append(nacks, Nack{Principal: ss.principal, StreamID: ss.id, NodeID: ss.node.ID, Version: r.version, Err: r.text})
		}
		ss.mu.Unlock()
	}
	slices.SortFunc(nacks, func(a, b Nack) int { return int(a.StreamID) - int(b.StreamID) }) //nolint:gosec // only an order
	return len(e.subs), acked, nacks
}

// Subscriber is a stream that subscribes to a resource.
type Subscriber struct {
	Principal Principal
	// Stream is the number of the stream.
	Stream uint64
	// Acked: it has ACKed the current version. Rejected: it has NACKed that, with Err in its own words.
	Acked, Rejected bool
	Err             string
}

// Subscribers calls see for each stream that subscribes to a resource, in no order, and stops when see
// returns false. The Store and the stream are locked meanwhile: see must be quick and not call the Server.
func (s *Server) Subscribers(k Key, see func(Subscriber) bool) {
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	kd := s.store.kinds[k.TypeURL]
	if kd == nil || kd.entries[k.Name] == nil {
		return
	}
	for _, sb := range kd.entries[k.Name].subs {
		ss := sb.watch.session
		one := Subscriber{Principal: ss.principal, Stream: ss.id}
		ss.mu.Lock()
		if sb.current() && !sb.is(paired|owed) {
			one.Acked = true
		} else if ss.isRejected(sb) {
			one.Rejected, one.Err = true, ss.rejected[sb].text
		}
		ss.mu.Unlock()
		if !see(one) {
			return
		}
	}
}

// progress tells Options.OnProgress of keys whose Acks may have changed, many
// at a time. It has no goroutine while there is nothing to tell.
type progress struct {
	call  func([]Key) // nil: nobody listens
	delay time.Duration

	mu      sync.Mutex // a leaf: nothing is locked while it is held
	keys    []*entry
	timer   bool // one is running
	telling sync.Mutex
}

func (p *progress) note(entries []*entry) {
	if p.call == nil || len(entries) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range entries {
		if !e.progress && !e.kind.Quiet {
			e.progress = true
			p.keys = append(p.keys, e)
		}
	}
	if !p.timer && len(p.keys) > 0 {
		p.timer = true
		time.AfterFunc(p.delay, p.tell)
	}
}

func (p *progress) tell() {
	p.telling.Lock() // one call at a time
	defer p.telling.Unlock()
	p.mu.Lock()
	keys := make([]Key, len(p.keys))
	for i, e := range p.keys {
		e.progress = false
		keys[i] = e.key
	}
	p.keys, p.timer = nil, false
	p.mu.Unlock()
	slices.SortFunc(keys, func(a, b Key) int {
		if c := strings.Compare(a.TypeURL, b.TypeURL); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	p.call(slices.Compact(keys))
}

// Stream describes one stream, for people: `tulle status` and debugging.
type Stream struct {
	ID        uint64
	Principal Principal
	Node      Node
	// Notes are the last of each type, in the order in which the types came first.
	Notes []Note
	Since time.Time
	// Names is how many names it subscribes to.
	Names int
	// Pending are names that it does not have in their current version yet, Rejected those it NACKed.
	Pending, Rejected int
	// Rejections are those that it NACKed, by name, at most maxShown of them.
	Rejections []Rejection
}

// Rejection is a resource whose current version a stream NACKed, in the client's own words.
type Rejection struct {
	Key     Key
	Version string
	Err     string
}

// maxShown bounds what Streams tells of one stream.
const (
	maxShown     = 10
	maxShownText = 512 // bytes of the client's words about one resource
)

// Streams returns all streams, sorted by id. It costs a look at every
// subscription whose contents are on their way.
func (s *Server) Streams() []Stream {
	s.mu.Lock()
	sessions := make([]*session, 0, len(s.sessions))
	for ss := range s.sessions {
		sessions = append(sessions, ss)
	}
	s.mu.Unlock()
	slices.SortFunc(sessions, func(a, b *session) int { return int(a.id) - int(b.id) }) //nolint:gosec // only an order
	l := make([]Stream, 0, len(sessions))
	s.store.mu.RLock()
	defer s.store.mu.RUnlock()
	for _, ss := range sessions {
		ss.mu.Lock()
		st := Stream{ID: ss.id, Principal: ss.principal, Node: ss.node, Notes: slices.Clone(ss.notes), Since: ss.since, Names: ss.names}
		for sb, r := range ss.rejected {
			if ss.isRejected(sb) {
				st.Rejected++
				st.Rejections = append(st.Rejections, Rejection{Key: sb.entry.key, Version: r.version, Err: r.text})
			}
		}
		slices.SortFunc(st.Rejections, func(a, b Rejection) int {
			return cmp.Or(cmp.Compare(a.Key.Name, b.Key.Name), cmp.Compare(a.Key.TypeURL, b.Key.TypeURL))
		})
		st.Rejections = st.Rejections[:min(len(st.Rejections), maxShown)]
		for i := range st.Rejections {
			st.Rejections[i].Err = clip(st.Rejections[i].Err, maxShownText)
		}
		for _, w := range ss.watches {
			waiting := map[*sub]struct{}{}
			lists := append([][]*sub{w.dirty, w.items}, w.trials...)
			for _, l := range lists {
				for _, sb := range l {
					if !sb.is(gone) && sb.is(queued|sending|trying) && !(sb.current() && !sb.is(paired|owed)) && !ss.isRejected(sb) {
						waiting[sb] = struct{}{}
					}
				}
			}
			st.Pending += len(waiting)
		}
		ss.mu.Unlock()
		l = append(l, st)
	}
	return l
}
