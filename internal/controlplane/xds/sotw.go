// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// State-of-the-world streams are for clients that speak no delta ADS: gRPC's. Each request names all that
// the client subscribes to of a type; a response of a Whole type has all of that, and one of another type
// what has changed of it. Subscriptions, rights, ACKs and the marking by commits are those of delta
// streams; only reading requests and composing responses differ.
//
// There is no order of types here: such a client puts nothing to use before it has all that belongs
// together, and asks for a cluster only after it got the route that names it.
//
// What is missing in a Whole response makes the client drop what it has. The client does not say what that
// is, and what it asks for may just be being made (see Options.OnProgress). So nothing is told to be
// missing before it has been for ResumeGrace.

// states returns what takes the bytes of requests, one after the other.
func (ss *session) states() func([]byte) error {
	return func(b []byte) error {
		r, err := ss.decode(stateLayout, b)
		if err != nil {
			return err
		}
		return ss.handleState(r)
	}
}

// handleState takes one request. An error is the client's fault and ends its stream.
func (ss *session) handleState(r *request) error {
	// The names count even if the nonce is an old one: requests come in order, so this is the latest wish.
	return ss.take(r, ss.want)
}

// want makes names the whole subscription to a type.
func (ss *session) want(r *request) error {
	kd := ss.srv.store.kinds[r.url]
	ss.mu.Lock()
	w := ss.watch(r.url)
	if w == nil {
		ss.mu.Unlock()
		return errTooManyTypes()
	}
	first := !w.started
	left := make(map[string]struct{}, len(w.subs))
	for _, s := range w.subs {
		left[s.entry.key.Name] = struct{}{}
	}
	ss.mu.Unlock()
	if kd == nil {
		return nil // not served: there is no way to say so
	}
	if first && len(r.subscribe) == 0 && kd.Whole {
		ss.srv.refuse(ss, Key{r.url, "*"}, "wildcard") // the first request without names asks for all
	}
	add, err := ss.unknown(kd, r.subscribe, left)
	if err != nil {
		return err
	}
	// Most requests merely ACK, and have neither.
	var touched []*entry
	for part := range slices.Chunk(slices.Collect(maps.Keys(left)), lockSlice) {
		ss.locked(func() { touched = append(touched, ss.leave(w, part)...) })
	}
	for part := range slices.Chunk(add, lockSlice) {
		ss.locked(func() {
			var t []*entry
			var over []string
			t, over, err = ss.subscribe(w, part, nil)
			touched = append(touched, t...)
			ss.deny(kd, over)
		})
		if err != nil {
			return err
		}
	}
	ss.mu.Lock()
	w.started = true
	ss.mu.Unlock()
	ss.srv.progress.note(touched)
	return nil
}

// unknown returns those names that are neither subscribed to nor refused already, as the store has them,
// and takes all that are asked for out of subscribed. No lock is held: Rename and Authorize are somebody
// else's code.
func (ss *session) unknown(kd *kind, names []string, subscribed map[string]struct{}) ([]string, error) {
	seen := make(map[string]struct{}, len(names))
	var ask []string
	for _, name := range names {
		k := Key{kd.URL, name}
		if name != "*" && ss.srv.opts.Rename != nil {
			k = ss.srv.opts.Rename(ss.principal, k)
		}
		if _, twice := seen[k.Name]; twice {
			continue
		}
		seen[k.Name] = struct{}{}
		if _, has := subscribed[k.Name]; has {
			delete(subscribed, k.Name)
		} else if _, no := ss.denied[k]; !no {
			ask = append(ask, k.Name)
		}
	}
	add, refused, err := ss.admit(kd.URL, ask)
	if slices.Contains(ask, "*") {
		refused = append(refused, "*")
	}
	ss.deny(kd, refused)
	return add, err
}

// maxDenied is how many refused names are remembered. Each is asked for again in every request.
const maxDenied = 1000

// deny remembers names that are refused, so that each is looked at and logged once.
func (ss *session) deny(kd *kind, names []string) {
	for _, name := range names {
		if ss.denied == nil || len(ss.denied) >= maxDenied {
			ss.denied = map[Key]struct{}{}
		}
		ss.denied[Key{kd.URL, name}] = struct{}{}
	}
}

// has says whether the client holds a version; nil stands for none.
func (*session) has(s *sub, m *meta) bool {
	return m != nil && s.held != nil && s.held.version == m.version
}

// nextState is next for a state-of-the-world stream. Store.mu and ss.mu must be locked.
func (ss *session) nextState(now time.Time) *response {
	for _, w := range ss.watches {
		if w.kind == nil || w.inflight || len(w.dirty) == 0 {
			continue
		}
		news, waits := ss.sift(w, now)
		if len(news) == 0 || waits && w.kind.Whole {
			continue
		}
		c := composer{turn: &turn{ss: ss, now: now}, watch: w}
		if w.kind.Whole {
			news = w.subs
		}
		resources := 0
		for _, s := range news {
			if !w.kind.Whole && c.size >= ss.srv.opts.MaxResponseBytes {
				break
			}
			if c.state(s) {
				resources++
			}
		}
		w.dirty = slices.DeleteFunc(w.dirty, func(s *sub) bool { return !s.is(queued) })
		r := c.finish()
		version := appendString(nil, stateVersion, strconv.FormatUint(ss.srv.store.seq, 10))
		r.tail, r.size = append(r.tail, version...), r.size+len(version)
		r.resources = resources
		return r
	}
	return nil
}

// sift looks at what is marked of a watch and unmarks what is not news to the client. waits is true if
// something is missing and may yet come.
func (ss *session) sift(w *watch, now time.Time) (news []*sub, waits bool) {
	keep := w.dirty[:0]
	for _, s := range w.dirty {
		if s.is(gone) || !s.is(queued) {
			continue
		}
		cur := s.cur()
		if cur != nil {
			delete(ss.missing, s)
		}
		switch {
		case cur == nil && !w.kind.Whole: // there is no way to say so; a client waits, or keeps what it has
			s.hold(nil)
			s.state = s.state&^queued | absent
			continue
		case cur == nil && s.is(absent), cur != nil && (ss.has(s, cur.meta) || ss.isRejected(s)):
			s.state &^= queued
			continue
		case cur == nil && ss.mayCome(s, now):
			waits = true
		default:
			news = append(news, s)
		}
		keep = append(keep, s)
	}
	clear(w.dirty[len(keep):])
	w.dirty = keep
	return news, waits
}

// mayCome says whether something has not been missing for long, and has the sender look again when it has.
func (ss *session) mayCome(s *sub, now time.Time) bool {
	since, ok := ss.missing[s]
	if !ok {
		if ss.missing == nil {
			ss.missing = map[*sub]time.Time{}
		}
		since = now
		ss.missing[s] = now
	}
	end := since.Add(ss.srv.opts.ResumeGrace)
	if !now.Before(end) {
		return false
	}
	if now.Before(ss.lookAt) && ss.lookAt.Before(end) {
		return true // it looks again before that
	}
	if ss.timer != nil {
		ss.timer.Stop()
	}
	ss.lookAt, ss.timer = end, time.AfterFunc(end.Sub(now), ss.wake)
	return true
}

// state takes a subscription into a response, and returns whether there is a resource to be sent.
func (c *composer) state(s *sub) bool {
	s.state = s.state &^ queued
	c.items = append(c.items, s)
	cur := s.cur()
	if cur == nil {
		s.state |= sending | removing
		return false
	}
	if !c.ss.has(s, cur.meta) && (s.held != nil || s.is(absent)) && (c.oldest == 0 || cur.at < c.oldest) {
		c.oldest = cur.at
	}
	s.sent = cur.meta
	s.state = s.state&^absent | sending | offered
	head, shared := cur.bare(s.entry.key.TypeURL)
	c.frames = append(c.frames, head, shared)
	c.size += len(head) + len(shared)
	return true
}
