// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// ErrBusy is the error for a request that found the budget used up for as long as it may wait.
var ErrBusy = errors.New("too many requests")

// BudgetOptions are the settings of a Budget. All are required.
type BudgetOptions struct {
	// Total is what all requests together may hold.
	Total int64
	// Share is what the requests of one address may hold; a single request may hold more.
	Share int64
	// Wait is how long a request waits for others to end.
	Wait time.Duration
	// Waiting is how many requests may wait.
	Waiting int
	// Grace is how long a request may hold its part while others wait, unless it is settled.
	Grace time.Duration
}

// Budget is an amount, of bytes for example, that requests take a part of while they are served. When
// it is used up, the address that holds least comes next. Safe for concurrent use.
type Budget struct {
	opts BudgetOptions

	mu      sync.Mutex // guards all below
	free    int64
	held    map[netip.Addr]int64
	leases  []*Lease  // in the order in which they were given
	waiting []*waiter // in the order in which they came
}

// waiter is a request that waits.
type waiter struct {
	who   netip.Addr
	n     int64
	ready chan *Lease // buffered; closed when another one takes the place
}

// Lease is a request's part of a Budget. End it with Release.
type Lease struct {
	b      *Budget
	who    netip.Addr
	n      int64
	since  time.Time
	revoke func()
	ended  bool
}

// NewBudget returns a Budget.
func NewBudget(o BudgetOptions) *Budget {
	return &Budget{opts: o, free: o.Total, held: map[netip.Addr]int64{}}
}

// Acquire takes n for a request of an address, or all there is if n is more. It waits for its turn. The
// error is ErrBusy, or the context's. revoke ends the request early: it is called at most once, and not
// after Settle or Release, if the request still holds its part after the Grace and others wait for it.
// It must not block or use the Lease. Nil: the request can't be ended early.
func (b *Budget) Acquire(ctx context.Context, who netip.Addr, n int64, revoke func()) (*Lease, error) {
	w := &waiter{who: who, n: min(max(n, 1), b.opts.Total), ready: make(chan *Lease, 1)}
	if err := b.enter(w); err != nil {
		return nil, err
	}
	lease, err := b.await(ctx, w)
	if lease != nil {
		b.mu.Lock()
		lease.revoke = revoke
		b.mu.Unlock()
	}
	return lease, err
}

// enter lets a request wait, in the place of one of an address with more of them if there are too many.
func (b *Budget) enter(w *waiter) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waiting = append(b.waiting, w)
	b.grant()
	if len(b.waiting) <= b.opts.Waiting {
		return nil
	}
	count := map[netip.Addr]int{}
	last := w // of the address with most, the newest
	for _, x := range b.waiting {
		count[x.who]++
	}
	for _, x := range b.waiting {
		if count[x.who] > count[last.who] || x.who == last.who {
			last = x
		}
	}
	b.waiting = slices.DeleteFunc(b.waiting, func(x *waiter) bool { return x == last })
	if last == w {
		return ErrBusy
	}
	close(last.ready)
	return nil
}

func (b *Budget) await(ctx context.Context, w *waiter) (*Lease, error) {
	end := time.NewTimer(b.opts.Wait)
	defer end.Stop()
	look := time.NewTicker(max(b.opts.Grace/4, time.Millisecond))
	defer look.Stop()
	var err error
	for err == nil {
		select {
		case l, ok := <-w.ready:
			if !ok {
				return nil, ErrBusy
			}
			return l, nil
		case <-look.C:
			b.hurry(w)
		case <-end.C:
			err = ErrBusy
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	b.mu.Lock()
	b.waiting = slices.DeleteFunc(b.waiting, func(x *waiter) bool { return x == w })
	b.mu.Unlock()
	select {
	case l, ok := <-w.ready: // granted in the last moment
		if ok {
			l.Release()
		}
	default:
	}
	return nil, err
}

// grant gives what is free to those that wait, first to whom its address would hold least with it: a small
// request does not stand behind the large ones of other addresses, of which there may be any number.
func (b *Budget) grant() {
	for {
		var next *waiter
		for _, w := range b.waiting {
			if held := b.held[w.who]; held > 0 && held+w.n > b.opts.Share {
				continue
			}
			if next == nil || b.held[w.who]+w.n < b.held[next.who]+next.n {
				next = w
			}
		}
		if next == nil || next.n > b.free {
			return // no larger one overtakes
		}
		b.waiting = slices.DeleteFunc(b.waiting, func(x *waiter) bool { return x == next })
		b.free -= next.n
		b.held[next.who] += next.n
		l := &Lease{b: b, who: next.who, n: next.n, since: time.Now()}
		b.leases = append(b.leases, l)
		next.ready <- l
	}
}

// hurry ends requests that hold their part for longer than the Grace, until there is enough for w: of the
// address that holds most the oldest first. If w waits for its own address, only requests of that end.
func (b *Budget) hurry(w *waiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	missing, own := w.n-b.free, false
	if held := b.held[w.who]; held > 0 && held+w.n > b.opts.Share {
		missing, own = held+w.n-b.opts.Share, true
	}
	candidate := func(l *Lease) bool { return !own || l.who == w.who }
	for _, l := range b.leases {
		if l.ended && candidate(l) {
			missing -= l.n // it will be released in a moment
		}
	}
	for missing > 0 {
		var most *Lease
		for _, l := range b.leases {
			if l.revoke == nil || l.ended || !candidate(l) || time.Since(l.since) < b.opts.Grace {
				continue
			}
			if most == nil || b.held[l.who] > b.held[most.who] {
				most = l
			}
		}
		if most == nil {
			return
		}
		most.ended = true
		most.revoke()
		missing -= most.n
	}
}

// Settle says that from now on the request depends on nobody outside: it will not be ended early.
func (l *Lease) Settle() {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	l.revoke = nil
}

// Revoked tells whether the request was ended early.
func (l *Lease) Revoked() bool {
	l.b.mu.Lock()
	defer l.b.mu.Unlock()
	return l.ended
}

// Release gives the part back. Only the first call counts.
func (l *Lease) Release() {
	b := l.b
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.leases, l)
	if i < 0 {
		return
	}
	b.leases = slices.Delete(b.leases, i, i+1)
	b.free += l.n
	if b.held[l.who] -= l.n; b.held[l.who] == 0 {
		delete(b.held, l.who)
	}
	b.grant()
}
