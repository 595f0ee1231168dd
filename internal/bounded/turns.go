// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// TurnOptions are the settings of Turns. All are required, but Part and Ahead.
type TurnOptions struct {
	// Places is how many turns there are at a time, and Each how many of them one address may have.
	Places, Each int
	// Longest is how long a turn takes at most. An address is charged for that much when it gets a turn, and gets
	// back what is left of it at the end.
	Longest time.Duration
	// Part bounds the turns of one address to a part of the time, 1/Part of it; at first it may have Ahead more.
	// If 0, they are not bounded while no other client waits.
	Part  int
	Ahead time.Duration
}

// Client is who waits for a turn.
type Client struct {
	Address netip.Addr
	// Group is what counts besides the address: a client may have many addresses. If empty, it is the network of
	// the address, which is the /64 of IPv6 and of IPv4 the address alone.
	Group string
}

// Turns are places that clients have one after the other. The next turn goes to the client that used least in the
// last minutes, as the product of what its address and what its group used, and among equals to the one that
// waits longest. So a client that rarely needs a turn does not wait behind others, however many connections,
// addresses or requests these have. Safe for concurrent use.
type Turns struct {
	opts TurnOptions

	mu        sync.Mutex // guards all below, and the Turns
	taken     int
	queued    uint64
	addresses map[netip.Addr]*turnAccount
	groups    map[string]*turnAccount
	waiting   map[*turnAccount]struct{} // addresses with waiting turns
	base      time.Time
	swept     time.Time
	due       *time.Timer // when an address that must wait may have its next turn
}

// turnAccount is what an address or a group has used.
type turnAccount struct {
	// used is in seconds as of Turns.base: what is used later counts for more, so that all fade alike without a
	// look at each.
	used float64
	// paid is until when the time of an address is used up.
	paid time.Time
	// has is how many turns it has, and turns how many it has or waits for.
	has, turns int
	waiting    []*Turn // of an address, in the order in which they came
}

// Turn is a place in Turns, or in the queue for one. End it with End.
type Turn struct {
	t        *Turns
	own, all *turnAccount
	number   uint64
	ready    chan struct{}
	since    time.Time // zero: it waits
	ended    bool
}

const (
	// turnsFade is how long it takes until a third of what was used counts.
	turnsFade = 2 * time.Minute
	// maxTurnAccounts is how many addresses, and how many groups, are remembered.
	maxTurnAccounts = 16384
)

// NewTurns returns Turns.
func NewTurns(o TurnOptions) *Turns {
	return &Turns{
		opts: o, addresses: map[netip.Addr]*turnAccount{}, groups: map[string]*turnAccount{},
		waiting: map[*turnAccount]struct{}{}, base: time.Now(),
	}
}

// Queue has a client wait for a turn, which it has when Ready of the result is closed.
func (t *Turns) Queue(who Client) *Turn {
	if who.Group == "" {
		who.Group = networkOf(who.Address).String()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	t.forget(now)
	t.queued++
	turn := &Turn{t: t, own: accountOf(t.addresses, who.Address), all: accountOf(t.groups, who.Group), number: t.queued, ready: make(chan struct{})}
	turn.own.turns++
	turn.all.turns++
	turn.own.waiting = append(turn.own.waiting, turn)
	t.waiting[turn.own] = struct{}{}
	t.grant(now)
	return turn
}

func accountOf[K comparable](m map[K]*turnAccount, k K) *turnAccount {
	a := m[k]
	if a == nil {
		a = &turnAccount{}
		m[k] = a
	}
	return a
}

// Taken returns how many turns are under way.
func (t *Turns) Taken() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.taken
}

// Ready is closed when the turn has come.
func (u *Turn) Ready() <-chan struct{} { return u.ready }

// End ends the turn, or the wait for it. Only the first call counts.
func (u *Turn) End() {
	t := u.t
	t.mu.Lock()
	defer t.mu.Unlock()
	if u.ended {
		return
	}
	u.ended = true
	u.own.turns--
	u.all.turns--
	now := time.Now()
	if u.since.IsZero() {
		t.dequeue(u)
		return
	}
	t.taken--
	u.own.has--
	left := max(0, t.opts.Longest-now.Sub(u.since))
	u.own.paid = u.own.paid.Add(-left * time.Duration(t.opts.Part))
	for _, a := range []*turnAccount{u.own, u.all} {
		a.used = max(0, a.used-left.Seconds()*t.weight(u.since))
	}
	t.grant(now)
}

func (t *Turns) dequeue(u *Turn) {
	u.own.waiting = slices.DeleteFunc(u.own.waiting, func(x *Turn) bool { return x == u })
	if len(u.own.waiting) == 0 {
		delete(t.waiting, u.own)
	}
}

// weight is what a second that is used at a time counts in turnAccount.used.
func (t *Turns) weight(at time.Time) float64 {
	return math.Exp(at.Sub(t.base).Seconds() / turnsFade.Seconds())
}

// grant gives the places that are free.
func (t *Turns) grant(now time.Time) {
	for t.taken < t.opts.Places {
		next, later := t.next(now)
		if next == nil {
			t.wake(now, later)
			return
		}
		t.dequeue(next)
		t.taken++
		next.own.has++
		if earliest := now.Add(-t.opts.Ahead); next.own.paid.Before(earliest) {
			next.own.paid = earliest
		}
		next.own.paid = next.own.paid.Add(t.opts.Longest * time.Duration(t.opts.Part))
		for _, a := range []*turnAccount{next.own, next.all} {
			a.used += t.opts.Longest.Seconds() * t.weight(now)
		}
		next.since = now
		close(next.ready)
	}
}

// next returns whose turn is next, and if nobody's is, when the first may be that has used up its part of the time.
func (t *Turns) next(now time.Time) (next *Turn, later time.Time) {
	scale, least := 1/t.weight(now), 0.0
	for a := range t.waiting {
		if a.has >= t.opts.Each {
			continue
		}
		if t.opts.Part > 0 && a.paid.After(now) {
			if later.IsZero() || a.paid.Before(later) {
				later = a.paid
			}
			continue
		}
		u := a.waiting[0]
		used := (1 + a.used*scale) * (1 + u.all.used*scale)
		if next == nil || used < least || used == least && u.number < next.number {
			next, least = u, used
		}
	}
	return next, later
}

// wake has grant look again at a time.
func (t *Turns) wake(now, later time.Time) {
	if t.due != nil {
		t.due.Stop()
		t.due = nil
	}
	if later.IsZero() {
		return
	}
	t.due = time.AfterFunc(later.Sub(now), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.grant(time.Now())
	})
}

// forget keeps numbers small, and accounts few.
func (t *Turns) forget(now time.Time) {
	full := len(t.addresses) >= maxTurnAccounts || len(t.groups) >= maxTurnAccounts
	if age := now.Sub(t.swept); age < time.Second || !full && age < turnsFade {
		return
	}
	t.swept = now
	scale := 1 / t.weight(now)
	t.base = now
	sweep(t.addresses, now, scale)
	sweep(t.groups, now, scale)
}

// sweep forgets accounts of which little is to be remembered, and if there are still too many, any that are idle.
func sweep[K comparable](m map[K]*turnAccount, now time.Time, scale float64) {
	for k, a := range m {
		a.used *= scale
		if a.idle() && a.used < 0.001 && !a.paid.After(now.Add(-turnsFade)) {
			delete(m, k)
		}
	}
	for k, a := range m {
		if len(m) < maxTurnAccounts {
			return
		}
		if a.idle() {
			delete(m, k)
		}
	}
}

func (a *turnAccount) idle() bool { return a.turns == 0 }
