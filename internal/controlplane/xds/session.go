// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// session is what the server knows of one stream.
type session struct {
	// Set at the start, read-only afterwards.
	srv       *Server
	id        uint64
	principal Principal
	since     time.Time
	owner     *owner
	sotw      bool       // of states of the world: see sotw.go
	ended     chan error // capacity 1: why the server ends the stream
	away      func()     // see enter

	// Used by the goroutine that receives, only.
	sawNode   bool
	work      int              // names in the last request
	denied    map[Key]struct{} // asked for in states of the world, and refused
	notesPaid time.Time        // see afford

	wakeup chan struct{} // capacity 1: there may be something to send
	woken  atomic.Bool   // wakeup was filled and the sender has not looked yet

	mu       sync.Mutex // guards the rest, and the subs; after Store.mu
	places   []string   // where the client is: Options.Places
	node     Node
	notes    []Note   // the last of each type
	watches  []*watch // by rank; those of unknown types last
	nonce    uint64
	names    int // subscribed, of all types
	closed   bool
	rejected map[*sub]rejection
	lastText string           // of the last of rejected
	maybe    map[*sub][]*meta // what the client may have taken of responses that it rejected as a whole
	resumed  bool             // the client brought resources with it
	graceEnd time.Time        // until then nothing that a resumed client holds is removed
	timer    *time.Timer
	missing  map[*sub]time.Time // in states of the world: since when what the client asks for is not there
	lookAt   time.Time          // when timer wakes the sender because of missing
}

// watch is the subscription of a session to one type.
type watch struct {
	session *session
	url     string
	kind    *kind // nil if the type is not served: all its names are answered as removed
	started bool  // the first request of the type was seen

	subs   []*sub // sorted by entry id
	dirty  []*sub // those with state queued, and some that no longer have it
	trials [][]*sub
	// unknown are names to answer as removed without subscribing to them, unpaid those of them that the
	// owner was not charged with.
	unknown, unpaid []string
	foreign         int // subs whose held revision is foreign

	bounded int // subs of Options.Bounded

	inflight   bool // a response is not ACKed yet
	inflightID string
	items      []*sub // of that response; those not gone have state sending
	sentAt     int64  // oldest commit among what that response updates, 0 if none
}

// sub is one name that a session subscribes to: about 40 bytes, because there
// may be millions.
type sub struct {
	entry *entry
	watch *watch
	held  *meta  // what the client has, as far as it ACKed or told; nil: nothing
	sent  *meta  // what is in watch.items, if sending and not removing
	place uint32 // in entry.subs; guarded by Store.mu
	state state
}

type state uint16

const (
	queued   state = 1 << iota // in watch.dirty: what is held may differ from what is
	again                      // to be sent even if it does not differ: the client asked again
	paired                     // the same, because what it accompanies was sent
	owed                       // sent as paired, not ACKed yet
	sending                    // in watch.items: on its way, or not answered yet
	removing                   // the same, and it is a removal
	trying                     // in watch.trials
	unsure                     // rejected together with others: the client may or may not have taken it, until it ACKs
	offered                    // sent once: the client may have some version of it, ACK or not
	absent                     // the client knows that there is no such resource
	charged                    // to the owner, since there was no such resource
	gone                       // unsubscribed; only stale lists still have it
)

// cur is the revision that the client is to have, or nil. Store.mu and session.mu must be locked.
func (s *sub) cur() *revision { return s.entry.at(s.watch.session.places) }

func (s *sub) is(x state) bool { return s.state&x != 0 }

// rejection is a version that a client NACKed.
type rejection struct{ version, text string }

// Node is what a client says of itself. It is for people and metrics.
type Node struct {
	ID string
	// Metadata are the fields of the node's metadata that are strings.
	Metadata map[string]string
}

// watch finds or makes the watch of a type; nil if there are too many types.
func (ss *session) watch(url string) *watch {
	if w := ss.existing(url); w != nil {
		return w
	}
	w := &watch{session: ss, url: url, kind: ss.srv.store.kinds[url]}
	if w.kind == nil {
		unknown := 0
		for _, x := range ss.watches {
			if x.kind == nil {
				unknown++
			}
		}
		if unknown >= maxUnknownTypes {
			return nil
		}
	}
	at, _ := slices.BinarySearchFunc(ss.watches, w, func(a, b *watch) int { return a.rank() - b.rank() })
	if w.kind == nil {
		at = len(ss.watches)
	}
	ss.watches = slices.Insert(ss.watches, at, w)
	return w
}

func (ss *session) existing(url string) *watch {
	for _, w := range ss.watches {
		if w.url == url {
			return w
		}
	}
	return nil
}

func (w *watch) rank() int {
	if w.kind == nil {
		return len(w.session.srv.store.kinds)
	}
	return w.kind.rank
}

func byEntry(s *sub, id uint64) int {
	switch {
	case s.entry.id < id:
		return -1
	case s.entry.id > id:
		return 1
	}
	return 0
}

func find(subs []*sub, e *entry) *sub {
	if e == nil {
		return nil
	}
	if i, ok := slices.BinarySearchFunc(subs, e.id, byEntry); ok {
		return subs[i]
	}
	return nil
}

// find returns the session's subscription to an entry, or nil.
func (ss *session) find(e *entry) *sub {
	if e = e.live(); e == nil {
		return nil
	}
	for _, w := range ss.watches {
		if w.kind == e.kind {
			return find(w.subs, e)
		}
	}
	return nil
}

func (s *sub) queue() {
	if !s.is(queued) {
		s.state |= queued
		s.watch.dirty = append(s.watch.dirty, s)
	}
}

// hold replaces what the client is known to have.
func (s *sub) hold(m *meta) {
	if s.held != nil && s.held.foreign {
		s.watch.foreign--
	}
	if m != nil && m.foreign {
		s.watch.foreign++
	}
	s.held = m
}

// isRejected says whether the client NACKed the current version.
func (ss *session) isRejected(s *sub) bool {
	r, ok := ss.rejected[s]
	cur := s.cur()
	return ok && cur != nil && cur.version == r.version
}

// current says whether the client has what there is, and will still have it
// once it has got what is on its way.
func (s *sub) current() bool {
	cur := s.cur()
	switch {
	case s.is(unsure):
		return false
	case cur == nil:
		return s.held == nil && s.is(absent) && !s.is(sending)
	case s.is(removing) || s.is(sending) && s.sent.version != cur.version:
		return false
	}
	return s.held != nil && s.held.version == cur.version
}

// subsAtOnce are allocated together: few, since one that is left keeps all of them in memory.
const subsAtOnce = 16

// subscribe adds names to a watch; versions are what the client says it has
// of them. Store.mu and ss.mu must be locked. It returns the entries concerned,
// and names that do not exist and of which the owner has too many already.
func (ss *session) subscribe(w *watch, names []string, versions map[string]string) (touched []*entry, over []string, err error) {
	store := ss.srv.store
	limit := ss.srv.maxNames()
	var fresh []sub
	news := make([]*sub, 0, len(names))
	touched = make([]*entry, 0, len(names))
	for _, name := range names {
		e := w.kind.entries[name]
		if s := find(w.subs, e); s != nil {
			// The protocol wants an answer: the client may have dropped it meanwhile.
			s.state |= again
			s.queue()
			continue
		}
		if ss.names+len(news) >= limit {
			err = errTooManyNames(limit)
			break
		}
		var pays state
		if e == nil || e.cur == nil {
			if !ss.owner.charge(name) {
				over = append(over, name)
				continue
			}
			pays = charged
		}
		if e == nil {
			e = store.entry(Key{w.url, name})
		}
		if len(fresh) == 0 {
			fresh = make([]sub, min(subsAtOnce, len(names)-len(news)))
		}
		s := &fresh[0]
		fresh = fresh[1:]
		*s = sub{entry: e, watch: w, place: uint32(len(e.subs)), state: pays} //nolint:gosec // subscribers of one name fit
		e.subs = append(e.subs, s)
		if ss.srv.bounded(e.key) {
			w.bounded++
			ss.owner.bind(e.key, 1)
		}
		if v, ok := versions[name]; ok {
			ss.resumed = true
			if cur := e.at(ss.places); cur != nil && cur.version == v {
				s.held = cur.meta
			} else {
				s.hold(&meta{version: v, foreign: true})
				s.queue()
			}
		} else {
			s.queue()
		}
		news = append(news, s)
		touched = append(touched, e)
	}
	if ss.names += len(news); !ss.owner.count(len(news), limit) && err == nil {
		err = errTooManyNames(limit)
	}
	w.subs = merge(w.subs, news)
	if ss.resumed && ss.graceEnd.IsZero() {
		ss.graceEnd = ss.srv.now().Add(ss.srv.opts.ResumeGrace)
	}
	return touched, over, err
}

// merge adds news, which it sorts, to what is sorted by entry.
func merge(subs, news []*sub) []*sub {
	slices.SortFunc(news, func(a, b *sub) int { return byEntry(a, b.entry.id) })
	i := len(subs) - 1
	subs = append(subs, news...)
	for j, at := len(news)-1, len(subs)-1; j >= 0; at-- {
		if i >= 0 && subs[i].entry.id > news[j].entry.id {
			subs[at] = subs[i]
			i--
			continue
		}
		subs[at] = news[j]
		j--
	}
	return subs
}

// unsubscribe removes names from a watch. Store.mu and ss.mu must be locked.
// It returns the entries concerned, not yet collected.
func (ss *session) unsubscribe(w *watch, names []string) []*entry {
	var touched []*entry
	for _, name := range names {
		if e := w.kind.entries[name]; e != nil {
			if s := find(w.subs, e); s != nil && !s.is(gone) {
				ss.drop(s)
				touched = append(touched, e)
			}
		}
	}
	if len(touched) > 0 {
		left := func(s *sub) bool { return s.is(gone) }
		w.subs = slices.DeleteFunc(w.subs, left)
		ss.names -= len(touched)
		ss.owner.count(-len(touched), 0)
		if len(w.dirty) > 64+2*len(w.subs) { // the client does not ACK, and its sender does not look
			w.dirty = slices.DeleteFunc(w.dirty, left)
		}
	}
	return touched
}

// drop takes a subscription out of its entry and marks it as gone.
func (ss *session) drop(s *sub) {
	l := s.entry.subs
	last := len(l) - 1
	l[s.place] = l[last]
	l[s.place].place = s.place
	l[last] = nil
	s.entry.subs = l[:last]
	s.hold(nil)
	s.sent = nil
	if ss.srv.bounded(s.entry.key) {
		s.watch.bounded--
		ss.owner.bind(s.entry.key, -1)
	}
	if s.is(charged) {
		s.watch.session.owner.refund(s.entry.key.Name)
	}
	s.state = gone
	delete(ss.rejected, s)
	delete(ss.maybe, s)
	delete(ss.missing, s)
}

// close ends all subscriptions and returns their entries.
func (ss *session) close() []*entry {
	store := ss.srv.store
	store.mu.Lock()
	defer store.mu.Unlock()
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.closed = true
	if ss.timer != nil {
		ss.timer.Stop()
	}
	touched := make([]*entry, 0, ss.names)
	for _, w := range ss.watches {
		for _, s := range w.subs {
			touched = append(touched, s.entry)
			ss.drop(s)
			store.collect(s.entry)
		}
		w.told(math.MaxInt)
	}
	ss.owner.count(-ss.names, 0)
	ss.watches, ss.names = nil, 0
	return touched
}

// wake tells the sender to look. It never blocks.
func (ss *session) wake() {
	if ss.woken.CompareAndSwap(false, true) {
		ss.srv.backlog.Add(1)
		ss.wakeup <- struct{}{} // capacity 1, and only the winner of woken sends
	}
}

// awake is called by the sender before it looks.
func (ss *session) awake() {
	ss.srv.backlog.Add(-1)
	ss.woken.Store(false)
}

// sleep makes later calls of wake do nothing: the sender has gone.
func (ss *session) sleep() {
	if ss.woken.Swap(true) {
		ss.srv.backlog.Add(-1)
	}
}
