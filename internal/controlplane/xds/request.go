// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

const (
	maxNameBytes    = 2048 // of one name or type URL
	maxUnknownTypes = 16   // types that are not served, per stream
	maxErrorBytes   = 4096 // of a client's NACK that are kept
	maxMaybe        = 8    // versions of a resource that a client may have taken
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
	var req discoveryv3.DeltaDiscoveryRequest
	return func(b []byte) error {
		defer req.Reset()
		if err := proto.Unmarshal(b, &req); err != nil {
			return status.Errorf(codes.InvalidArgument, "the request is not a DeltaDiscoveryRequest: %v", err)
		}
		return ss.handle(&req)
	}
}

// handle takes one request. An error is the client's fault and ends its stream.
func (ss *session) handle(req *discoveryv3.DeltaDiscoveryRequest) error {
	if url := req.GetTypeUrl(); slices.Contains(ss.srv.opts.Notes, url) {
		ss.note(url, req)
		return nil
	}
	return ss.take(req, func(url string) error { return ss.interest(url, req) })
}

// request is what requests of both protocols have.
type request interface {
	GetTypeUrl() string
	GetNode() *corev3.Node
	GetResponseNonce() string
	GetErrorDetail() *statuspb.Status
}

// take takes one request, which subscribes to what it wants.
func (ss *session) take(req request, subscribe func(url string) error) error {
	url := req.GetTypeUrl()
	if url == "" || len(url) > maxNameBytes {
		return status.Error(codes.InvalidArgument, "type_url is empty or too long")
	}
	if !ss.sawNode {
		ss.sawNode = true
		ss.introduce(req.GetNode())
	}
	if req.GetResponseNonce() != "" {
		ss.answer(url, req.GetResponseNonce(), req.GetErrorDetail())
	}
	if err := subscribe(url); err != nil {
		return err
	}
	if ss.pendingWork() {
		ss.wake()
	}
	return nil
}

// introduce keeps what the client says of itself with its first request.
func (ss *session) introduce(node *corev3.Node) {
	n := Node{ID: clip(node.GetId(), maxNameBytes)}
	for k, v := range node.GetMetadata().GetFields() {
		if s := v.GetStringValue(); s != "" && len(n.Metadata) < 64 {
			if n.Metadata == nil {
				n.Metadata = map[string]string{}
			}
			n.Metadata[clip(k, 256)] = clip(s, 256)
		}
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.node = n
}

// clip shortens text of others; a character cut in two is dropped.
func clip(s string, n int) string {
	if len(s) <= n {
		return strings.Clone(s) // not a part of a larger message
	}
	return strings.ToValidUTF8(s[:n], "")
}

// answer takes an ACK or, with a detail, a NACK.
func (ss *session) answer(url, nonce string, detail *statuspb.Status) {
	var acks []Ack
	var entries []*entry
	report := ss.srv.opts.OnAck != nil
	ss.mu.Lock()
	w := ss.existing(url)
	if w == nil || !w.inflight || w.inflightID != nonce {
		ss.mu.Unlock()
		ss.srv.metrics.stale.Inc() // of a response that was answered, or of another stream
		return
	}
	items, sentAt := w.items, w.sentAt
	w.inflight, w.items = false, nil
	text := ""
	if detail != nil {
		if text = clip(detail.GetMessage(), maxErrorBytes); text == "" {
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
		if ss.rejected == nil {
			ss.rejected = map[*sub]rejection{}
		}
		r := rejection{text: text}
		if !removed {
			r.version = sent.version
		}
		ss.rejected[s] = r
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

// interest takes the changes of a request to what the stream subscribes to.
func (ss *session) interest(url string, req *discoveryv3.DeltaDiscoveryRequest) error {
	add, refused, err := ss.admit(url, req.GetResourceNamesSubscribe())
	if err != nil {
		return err
	}
	store := ss.srv.store
	if len(req.GetResourceNamesSubscribe()) == 0 && len(req.GetResourceNamesUnsubscribe()) == 0 {
		ss.mu.Lock()
		defer ss.mu.Unlock()
		w := ss.watch(url)
		if w == nil {
			return errTooManyTypes()
		}
		w.started = true
		return nil
	}
	store.mu.Lock()
	ss.mu.Lock()
	if ss.closed { // the sender ended the stream meanwhile
		ss.mu.Unlock()
		store.mu.Unlock()
		return nil
	}
	w := ss.watch(url)
	if w == nil {
		ss.mu.Unlock()
		store.mu.Unlock()
		return errTooManyTypes()
	}
	var versions map[string]string
	if !w.started {
		versions = req.GetInitialResourceVersions()
	}
	w.started = true
	var touched []*entry
	if w.kind != nil {
		left := ss.unsubscribe(w, req.GetResourceNamesUnsubscribe())
		var over []string
		add, over = ss.bound(w, add)
		refused = append(refused, over...)
		touched = append(ss.subscribe(w, add, versions), left...)
		for _, e := range left {
			store.collect(e)
		}
	}
	w.unknown = append(w.unknown, refused...)
	names := ss.names + len(w.unknown)
	ss.mu.Unlock()
	store.mu.Unlock()
	if names > ss.srv.opts.MaxNames {
		return status.Errorf(codes.ResourceExhausted, "more than %d names on one stream", ss.srv.opts.MaxNames)
	}
	ss.srv.progress.note(touched)
	if f := ss.srv.opts.OnInterest; f != nil && w.kind != nil && len(add) > 0 {
		f(url, add)
	}
	return nil
}

// bound takes out of names those that are too many on this stream. Store.mu and ss.mu must be locked.
func (ss *session) bound(w *watch, names []string) (within, over []string) {
	bounded := ss.srv.opts.Bounded
	if bounded == nil || !slices.ContainsFunc(names, func(n string) bool { return bounded(Key{w.url, n}) }) {
		return names, nil
	}
	room := ss.srv.opts.MaxBounded
	had := map[string]struct{}{}
	for _, s := range w.subs {
		if bounded(s.entry.key) {
			room--
			had[s.entry.key.Name] = struct{}{}
		}
	}
	for _, n := range names {
		if _, known := had[n]; !known && bounded(Key{w.url, n}) {
			if room--; room < 0 {
				over = append(over, n)
				continue
			}
		}
		within = append(within, n)
	}
	return within, over
}

func errTooManyTypes() error {
	return status.Errorf(codes.ResourceExhausted, "more than %d types that are not served on one stream", maxUnknownTypes)
}

// admit sorts the names of a request into those to subscribe to and those to
// answer as removed. No lock is held: Authorize is somebody else's code.
func (ss *session) admit(url string, names []string) (add, refused []string, err error) {
	if len(names) > ss.srv.opts.MaxNames {
		return nil, nil, status.Errorf(codes.ResourceExhausted, "more than %d names in one request", ss.srv.opts.MaxNames)
	}
	k := ss.srv.store.kinds[url]
	seen := make(map[string]struct{}, len(names))
	for _, name := range names {
		switch _, twice := seen[name]; {
		case name == "" || len(name) > maxNameBytes:
			return nil, nil, status.Error(codes.InvalidArgument, "a resource name is empty or too long")
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
		if len(w.dirty) > 0 || len(w.trials) > 0 || len(w.unknown) > 0 {
			return true
		}
	}
	return false
}
