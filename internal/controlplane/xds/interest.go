// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"slices"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// lockSlice is how many names are subscribed to or unsubscribed from while the store is locked. A commit
// waits for one slice, however long the request is.
const lockSlice = 1000

// interest takes the changes of a request to what the stream subscribes to.
func (ss *session) interest(r *request) error {
	add, refused, err := ss.admit(r.url, r.subscribe)
	if err != nil {
		return err
	}
	ss.mu.Lock()
	w := ss.watch(r.url)
	if w == nil {
		ss.mu.Unlock()
		return errTooManyTypes()
	}
	versions := r.versions
	if w.started {
		versions = nil
	}
	ss.mu.Unlock()
	var touched []*entry
	granted := add[:0:0]
	if w.kind != nil {
		for part := range slices.Chunk(r.unsubscribe, lockSlice) {
			ss.locked(func() { touched = append(touched, ss.leave(w, part)...) })
		}
		for part := range slices.Chunk(add, lockSlice) {
			ss.locked(func() {
				within, over := ss.bound(w, part)
				refused = append(refused, over...)
				var t []*entry
				t, over, err = ss.subscribe(w, within, versions)
				refused, touched = append(refused, over...), append(touched, t...)
				granted = append(granted, without(within, over)...)
			})
			if err != nil {
				return err
			}
		}
	}
	ss.mu.Lock()
	w.started = true // a stream that has subscribed to a part has not settled
	err = ss.refuseAll(w, refused)
	ss.mu.Unlock()
	if err != nil {
		return err
	}
	ss.srv.progress.note(touched)
	if f := ss.srv.opts.OnInterest; f != nil && len(granted) > 0 {
		f(ss.principal, r.url, granted)
	}
	return nil
}

// without returns names but for some of them, which are in the same order.
func without(names, some []string) []string {
	if len(some) == 0 {
		return names
	}
	var out []string
	for _, n := range names {
		if len(some) > 0 && some[0] == n {
			some = some[1:]
			continue
		}
		out = append(out, n)
	}
	return out
}

// locked calls f with the store and the session locked, unless the stream has been ended by the sender.
func (ss *session) locked(f func()) {
	store := ss.srv.store
	store.mu.Lock()
	defer store.mu.Unlock()
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if !ss.closed {
		f()
	}
}

// leave unsubscribes from names and collects what nothing speaks of any more. Store.mu and ss.mu must be
// locked.
func (ss *session) leave(w *watch, names []string) []*entry {
	left := ss.unsubscribe(w, names)
	for _, e := range left {
		ss.srv.store.collect(e)
	}
	return left
}

// maxUnpaid is how many names may wait to be answered as removed that an owner can't be charged with.
const maxUnpaid = 256

// refuseAll has names answered as removed without subscribing to them. Until they are sent, which may be
// when the client ACKs what was sent before, its owner is charged with them. ss.mu must be locked.
func (ss *session) refuseAll(w *watch, names []string) error {
	if ss.closed {
		return nil
	}
	unpaid := 0
	for _, w := range ss.watches {
		unpaid += len(w.unpaid)
	}
	for _, n := range names {
		if ss.owner.charge(n) {
			w.unknown = append(w.unknown, n)
			continue
		}
		if unpaid++; unpaid > maxUnpaid {
			return status.Error(codes.ResourceExhausted, "too many names that do not exist or are refused; unsubscribe from those, and ACK what was sent")
		}
		w.unpaid = append(w.unpaid, n)
	}
	return nil
}

// refusals tells whether there are names to be answered as removed. The session's mu must be locked.
func (w *watch) refusals() bool { return len(w.unknown)+len(w.unpaid) > 0 }

// maxRemoved bytes of names are answered as removed in one response. Unlike resources they are the stream's
// own, and gRPC has them in memory until the client reads.
const maxRemoved = 128 << 10

// told returns names that are answered as removed now, of no more than about size bytes; others wait for the
// next response. The session's mu must be locked.
func (w *watch) told(size int) (names []string) {
	take := func(l []string, paid bool) []string {
		n := 0
		for ; n < len(l) && size > 0; n++ {
			size -= len(l[n])
			if paid {
				w.session.owner.refund(l[n])
			}
		}
		names = append(names, l[:n]...)
		if n == len(l) {
			return nil
		}
		return l[n:]
	}
	w.unknown, w.unpaid = take(w.unknown, true), take(w.unpaid, false)
	return names
}

func errTooManyNames(limit int) error {
	return status.Errorf(codes.ResourceExhausted, "more names on one stream than the %d that a mesh of this size needs", limit)
}

// maxNames is how many names a stream may subscribe to. All streams of an owner may have twice as many, as long as its
// group does not have too many (owner.count).
func (s *Server) maxNames() int { return s.opts.SpareNames + 2*int(s.store.known.Load()) }

// MaxRequest is how large a request may be: one that subscribes to all names of the largest type again,
// with their versions.
func (s *Server) MaxRequest() int {
	return min(s.opts.MaxRequestBytes, leastRequest+resumeBytes*int(s.store.known.Load()))
}

const (
	leastRequest = 1 << 20
	// resumeBytes are those of a name that is as long as usual, twice, and a version.
	resumeBytes = 256
)
