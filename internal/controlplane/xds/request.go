// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"errors"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	maxUnknownTypes = 16 // types that are not served, per stream
	maxMaybe        = 8  // versions of a resource that a client may have taken
	maxTexts        = 64 // rejections of a stream of which the client's words are kept
)

// Ack is one resource that a client accepted or rejected.
type Ack struct {
	Principal Principal
	// StreamID tells streams of the same principal apart.
	StreamID uint64
	Key      Key
	// Version is empty for a removal.
	Version string
	// Err is why the client rejected it, in its own words; empty if it accepted.
	Err string
}

// deltas returns what takes the bytes of requests, one after the other.
func (ss *session) deltas() func([]byte) error {
	return func(b []byte) error {
		r, err := ss.decode(deltaLayout, b)
		if err != nil {
			return err
		}
		return ss.handle(r)
	}
}

// decode reads a request within the limits that apply now.
func (ss *session) decode(l layout, b []byte) (*request, error) {
	opts := &ss.srv.opts
	if limit := ss.srv.MaxRequest(); len(b) > limit {
		return nil, status.Errorf(codes.ResourceExhausted, "the request has %d bytes, more than the %d that a mesh of this size needs", len(b), limit)
	}
	r, err := l.decode(b, limits{
		names: ss.srv.maxNames(),
		meta: func(url string) []string {
			switch {
			case slices.Contains(opts.Notes, url):
				return opts.NoteFields
			case ss.sawNode:
				return nil
			}
			return opts.NodeFields
		},
		metaBytes: func(url string) int {
			if slices.Contains(opts.Notes, url) {
				return maxNoteBytes + 1
			}
			return maxNodeBytes
		},
	})
	switch {
	case errors.Is(err, errManyName):
		return nil, status.Errorf(codes.ResourceExhausted, "more than %d names in one request", ss.srv.maxNames())
	case err != nil:
		return nil, status.Error(codes.InvalidArgument, l.malformed(err).Error())
	}
	ss.work = len(r.subscribe) + len(r.unsubscribe) + len(r.versions)
	return r, nil
}

// handle takes one request. An error is the client's fault and ends its stream.
func (ss *session) handle(r *request) error {
	if slices.Contains(ss.srv.opts.Notes, r.url) {
		ss.note(r)
		return nil
	}
	return ss.take(r, ss.interest)
}

// take takes one request, which subscribes to what it wants.
func (ss *session) take(r *request, subscribe func(*request) error) error {
	if r.url == "" {
		return status.Error(codes.InvalidArgument, "type_url is empty")
	}
	if !ss.sawNode {
		ss.sawNode = true
		ss.introduce(r.node)
	}
	if r.nonce != "" {
		ss.answer(r)
	}
	if err := subscribe(r); err != nil {
		return err
	}
	if ss.pendingWork() {
		ss.wake()
	}
	return nil
}

// introduce keeps what the client says of itself with its first request.
func (ss *session) introduce(n *Node) {
	if n == nil {
		return
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.node = *n
}

// clip shortens text of others; a character cut in two is dropped.
func clip(s string, n int) string {
	if len(s) <= n {
		return strings.Clone(s) // not a part of a larger message
	}
	return strings.ToValidUTF8(s[:n], "")
}

// answer takes an ACK or, with a detail, a NACK.
func (ss *session) answer(r *request) {
	var acks []Ack
	var entries []*entry
	report := ss.srv.opts.OnAck != nil
	ss.mu.Lock()
	w := ss.existing(r.url)
	if w == nil || !w.inflight || w.inflightID != r.nonce {
		ss.mu.Unlock()
		ss.srv.metrics.stale.Inc() // of a response that was answered, or of another stream
		return
	}
	items, sentAt := w.items, w.sentAt
	w.inflight, w.items = false, nil
	text := ""
	if r.rejected {
		if text = r.text; text == "" {
			text = "rejected without a message"
		}
	}
	if text != "" && len(items) > 1 && !ss.sotw {
		// One of several is bad and the others may be good: halve them until it stands alone.
		half := len(items) / 2
		ss.retry(w, items[:half])
		ss.retry(w, items[half:])
		ss.mu.Unlock()
		ss.srv.metrics.of(w.kind).nacks.Inc()
		return
	}
	for _, s := range items {
		if s.is(gone) {
			continue
		}
		why := text
		if ss.sotw && ss.has(s, s.sent) {
			why = "" // what was sent along with what is rejected now
		}
		a := Ack{Principal: ss.principal, StreamID: ss.id, Key: s.entry.key, Err: why}
		if !s.is(removing) {
			a.Version = s.sent.version
		}
		ss.settle(s, why)
		entries = append(entries, s.entry)
		if report {
			acks = append(acks, a)
		}
	}
	ss.mu.Unlock()
	ss.srv.answered(ss, w, text, sentAt, entries, acks)
}

// retry has a part of a rejected response sent again, on its own. The client
// may have taken the good ones nevertheless (Envoy does, of clusters and
// listeners), and what those refer to must stay until it is known.
func (ss *session) retry(w *watch, items []*sub) {
	group := make([]*sub, 0, len(items))
	for _, s := range items {
		if s.is(gone) {
			continue
		}
		if s.sent != nil && !slices.Contains(ss.maybe[s], s.sent) {
			if ss.maybe == nil {
				ss.maybe = map[*sub][]*meta{}
			}
			l := append(ss.maybe[s], s.sent)
			ss.maybe[s] = l[max(0, len(l)-maxMaybe):]
		}
		s.sent = nil
		s.state = s.state&^(sending|removing|owed) | trying | unsure
		group = append(group, s)
	}
	if len(group) > 0 {
		w.trials = append(w.trials, group)
	}
}

// settle notes the answer for one resource.
func (ss *session) settle(s *sub, text string) {
	sent, removed := s.sent, s.is(removing)
	s.sent = nil
	s.state &^= sending | removing | owed
	if text == "" {
		delete(ss.rejected, s)
	} else {
		r := rejection{text: text}
		if !removed {
			r.version = sent.version
		}
		ss.reject(s, r)
	}
	switch {
	case removed: // a client can't keep by a NACK what does not exist
		s.hold(nil)
		s.state = s.state&^(offered|unsure) | absent
		delete(ss.maybe, s)
	case text == "":
		s.hold(sent)
		s.state &^= unsure
		delete(ss.maybe, s)
	}
}

// reject notes a rejection. Of many only the first are kept in the client's words: they may be long.
func (ss *session) reject(s *sub, r rejection) {
	switch {
	case ss.rejected == nil:
		ss.rejected = map[*sub]rejection{}
	case r.text == ss.lastText:
		r.text = ss.lastText // one copy of what was said of many
	case len(ss.rejected) >= maxTexts:
		r.text = "rejected; the message was not kept, since this stream rejected many resources"
	}
	ss.lastText = r.text
	ss.rejected[s] = r
}

// bound takes out of names those that are too many on this stream, or for its owner. Store.mu and ss.mu must
// be locked.
func (ss *session) bound(w *watch, names []string) (within, over []string) {
	if !slices.ContainsFunc(names, func(n string) bool { return ss.srv.bounded(Key{w.url, n}) }) {
		return names, nil
	}
	room := ss.srv.opts.MaxBounded - w.bounded
	ofOwner, held := ss.owner.bounded(w.url, names)
	ofOwner = 2*ss.srv.opts.MaxBounded - ofOwner
	for i, n := range names {
		if ss.srv.bounded(Key{w.url, n}) && find(w.subs, w.kind.entries[n]) == nil {
			if room <= 0 || !held[i] && ofOwner <= 0 {
				over = append(over, n)
				continue
			}
			if room--; !held[i] {
				ofOwner--
			}
		}
		within = append(within, n)
	}
	return within, over
}

// bounded reports whether there is a bound on such names.
func (s *Server) bounded(k Key) bool { return s.opts.Bounded != nil && s.opts.Bounded(k) }

func errTooManyTypes() error {
	return status.Errorf(codes.ResourceExhausted, "more than %d types that are not served on one stream", maxUnknownTypes)
}

// admit sorts the names of a request into those to subscribe to and those to
// answer as removed. No lock is held: Authorize is somebody else's code.
func (ss *session) admit(url string, names []string) (add, refused []string, err error) {
	k := ss.srv.store.kinds[url]
	seen := make(map[string]struct{}, len(names))
	for _, name := range names {
		switch _, twice := seen[name]; {
		case name == "" || len(name) > maxNameBytes:
			return nil, nil, status.Error(codes.InvalidArgument, errName.Error())
		case twice:
			continue
		case name == "*":
			ss.srv.refuse(ss, Key{url, name}, "wildcard")
			continue
		}
		seen[name] = struct{}{}
		switch {
		case k == nil:
			refused = append(refused, name)
		case !ss.srv.opts.Authorize(ss.principal, Key{k.URL, name}):
			ss.srv.refuse(ss, Key{k.URL, name}, "unauthorized")
			refused = append(refused, name)
		default:
			add = append(add, name)
		}
	}
	return add, refused, nil
}

// pendingWork says whether the sender has a reason to look.
func (ss *session) pendingWork() bool {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, w := range ss.watches {
		if len(w.dirty) > 0 || len(w.trials) > 0 || w.refusals() {
			return true
		}
	}
	return false
}
