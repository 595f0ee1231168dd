// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"strconv"
	"time"
)

// response is one message to the client.
type response struct {
	kind   *kind    // nil for a type that is not served
	frames [][]byte // shared with other streams: never written to
	tail   []byte
	// resources and removed are how many the response has.
	resources, removed int
	size               int
}

// next returns what is to be sent now, or nil. It is called by the sender only.
func (ss *session) next(now time.Time) *response {
	store := ss.srv.store
	store.mu.RLock()
	defer store.mu.RUnlock()
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.closed {
		return nil
	}
	if ss.sotw {
		return ss.nextState(now)
	}
	t := &turn{ss: ss, now: now}
	idle := true // nothing is in flight
	for _, w := range ss.watches {
		if w.inflight {
			idle = false
		} else if r := t.compose(w); r != nil {
			return r
		}
	}
	// All wait, for nothing that could still happen: resources that need one
	// another. Only a client that shall wait for a removal is left to wait.
	if !idle || len(store.pending) > 0 || ss.timer != nil && now.Before(ss.graceEnd) {
		return nil
	}
	t.forced = true
	for _, w := range ss.watches {
		if r := t.compose(w); r != nil {
			ss.srv.metrics.cycles.Inc()
			return r
		}
	}
	return nil
}

// compose makes a response of what may be sent of one type.
func (t *turn) compose(w *watch) *response {
	if len(w.dirty) == 0 && len(w.trials) == 0 && !w.refusals() {
		return nil
	}
	c := composer{turn: t, watch: w}
	for len(w.trials) > 0 && len(c.items) == 0 {
		group := w.trials[0]
		w.trials = w.trials[1:]
		for _, s := range group {
			if s.is(gone) || !s.is(trying) {
				continue
			}
			s.state = s.state&^trying | again
			c.visit(s)
		}
	}
	if len(c.items) == 0 {
		keep := w.dirty[:0]
		for _, s := range w.dirty {
			if s.is(gone) || !s.is(queued) || s.is(trying) {
				s.state &^= queued
				continue
			}
			if c.size >= t.ss.srv.opts.MaxResponseBytes || c.gone >= maxRemoved || !c.visit(s) {
				keep = append(keep, s)
			}
		}
		clear(w.dirty[len(keep):])
		if w.dirty = keep; len(keep) == 0 && cap(keep) > 64 {
			w.dirty = nil // the memory of a first request is not kept
		}
		c.removed = append(c.removed, w.told(maxRemoved-c.gone)...)
	}
	return c.finish()
}

// composer collects one response.
type composer struct {
	*turn
	watch   *watch
	items   []*sub
	frames  [][]byte
	removed []string
	size    int
	gone    int // bytes of removed
	oldest  int64
}

// visit takes a subscription into the response if it is to be sent. It returns
// false if it must stay queued.
func (c *composer) visit(s *sub) bool {
	switch c.decide(s) {
	case wait:
		if !s.is(queued) { // of a trial
			s.queue()
		}
		return false
	case clean:
		s.state &^= queued | paired // what it was to accompany has gone, too
	case send:
		cur := s.cur()
		s.sent = cur.meta
		c.frames = append(c.frames, cur.frame)
		c.size += len(cur.frame)
		if (s.held != nil && !s.held.foreign || s.is(absent)) && (c.oldest == 0 || cur.at < c.oldest) {
			c.oldest = cur.at
		}
		if companion := cur.companion; companion != nil && !s.is(paired) {
			if p := c.ss.find(companion); p != nil && p.entry.cur != nil {
				p.state |= paired
				p.queue()
			}
		}
		if s.is(paired) {
			s.state |= owed
		}
		s.state = s.state&^(queued|again|paired|absent) | sending | offered
		c.items = append(c.items, s)
	case remove:
		c.removed = append(c.removed, s.entry.key.Name)
		c.size += len(s.entry.key.Name)
		c.gone += len(s.entry.key.Name)
		s.state = s.state&^(queued|again|paired) | sending | removing
		c.items = append(c.items, s)
	}
	return true
}

func (c *composer) finish() *response {
	if len(c.items) == 0 && len(c.removed) == 0 {
		return nil
	}
	w := c.watch
	c.ss.nonce++
	w.inflightID = strconv.FormatUint(c.ss.nonce, 36)
	w.inflight, w.items, w.sentAt = true, c.items, c.oldest
	r := &response{kind: w.kind, frames: c.frames, tail: tail(w.url, w.inflightID, c.removed), resources: len(c.frames), removed: len(c.removed)}
	r.size = len(r.tail)
	for _, f := range r.frames {
		r.size += len(f)
	}
	return r
}
