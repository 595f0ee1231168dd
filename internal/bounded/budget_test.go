// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func addr(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}) }

func options() BudgetOptions {
	return BudgetOptions{Total: 100, Share: 50, Wait: 20 * time.Second, Waiting: 100, Grace: 10 * time.Second}
}

func (b *Budget) take(t *testing.T, who int, n int64, revoke func()) *Lease {
	t.Helper()
	l, err := b.Acquire(t.Context(), addr(who), n, revoke)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// later acquires in the background, and returns once it waits.
func (b *Budget) later(t *testing.T, who int, n int64) <-chan *Lease {
	t.Helper()
	before := b.waiters()
	out := make(chan *Lease, 1)
	go func() {
		l, err := b.Acquire(context.WithoutCancel(t.Context()), addr(who), n, nil)
		if err == nil {
			out <- l
		}
		close(out)
	}()
	for b.waiters() == before {
		time.Sleep(time.Millisecond)
	}
	return out
}

func (b *Budget) waiters() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

// TestFairness: who holds least is next, however many of another wait; one address gets its share and no more.
func TestFairness(t *testing.T) {
	b := NewBudget(options())
	first := b.take(t, 1, 30, nil)
	second := b.take(t, 2, 50, nil)
	third := b.take(t, 3, 20, nil)
	var flood []<-chan *Lease
	for range 10 {
		flood = append(flood, b.later(t, 1, 20))
	}
	real := b.later(t, 4, 20)
	third.Release()
	if l := <-real; l == nil {
		t.Fatal("the address that holds nothing is not next")
	}
	second.Release() // 50 are free: 1 has 30 and may have 20 more
	if l := <-flood[0]; l == nil {
		t.Fatal("not the first of an address")
	}
	if n := b.waiters(); n != 9 {
		t.Errorf("%d wait: an address has more than its share", n)
	}
	b.take(t, 5, 30, nil).Release() // others find room
	first.Release()
	<-flood[1]
}

// TestSmallRequestsFirst: large requests of any number of addresses, each of which holds nothing yet, do not keep
// a small one waiting.
func TestSmallRequestsFirst(t *testing.T) {
	b := NewBudget(options())
	first := b.take(t, 1, 100, nil) // all there is
	for who := range 50 {
		b.later(t, 2+who, 100)
	}
	real := b.later(t, 100, 10)
	first.Release()
	if l := <-real; l == nil {
		t.Fatal("the small request gets nothing")
	}
	if n := b.waiters(); n != 50 {
		t.Errorf("%d wait, want all the large requests", n)
	}
}

// TestBusy: a request waits for as long as it may, and in a full queue an address with more of it makes room.
func TestBusy(t *testing.T) {
	o := options()
	o.Wait, o.Waiting = 20*time.Millisecond, 2
	b := NewBudget(o)
	b.take(t, 1, 1000, nil) // all there is
	if _, err := b.Acquire(t.Context(), addr(2), 1, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Acquire(ctx, addr(2), 1, nil); err == nil {
		t.Error("a request that has ended gets something")
	}
	if b.waiters() != 0 {
		t.Error("who has given up still waits")
	}

	o.Wait = time.Minute
	b = NewBudget(o)
	all := b.take(t, 1, 100, nil)
	older, newer := b.later(t, 2, 1), b.later(t, 2, 1)
	other := make(chan *Lease, 1)
	go func() {
		l, _ := b.Acquire(context.WithoutCancel(t.Context()), addr(3), 1, nil)
		other <- l
	}()
	if l := <-newer; l != nil {
		t.Error("the newest of the address with most does not go")
	}
	if _, err := b.Acquire(t.Context(), addr(2), 1, nil); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	all.Release()
	if <-older == nil || <-other == nil {
		t.Error("those that wait get nothing")
	}
}

// TestRevoke: a request that takes longer than the grace ends when another waits, that of the address with
// most first; one that is settled does not.
func TestRevoke(t *testing.T) {
	o := options()
	o.Grace = 20 * time.Millisecond
	b := NewBudget(o)
	ended := make(chan int, 10)
	var leases [4]*Lease
	for i, n := range []int64{20, 30, 20, 30} {
		leases[i] = b.take(t, i/2, n, func() { ended <- i })
	}
	leases[0].Settle()
	got := b.later(t, 9, 30)
	if i := <-ended; i != 1 {
		t.Errorf("%d was ended", i)
	}
	if !leases[1].Revoked() || leases[2].Revoked() {
		t.Error("revoked is not what was ended")
	}
	leases[1].Release()
	if l := <-got; l == nil {
		t.Fatal("nothing came of it")
	}
	// More than one, as many as are needed.
	got = b.later(t, 8, 45)
	for range 2 {
		leases[<-ended].Release()
	}
	if l := <-got; l == nil {
		t.Fatal("nothing came of it")
	}
	select {
	case i := <-ended:
		t.Errorf("%d was ended, too", i)
	default:
	}
}

// TestBudgetNeverExceeded: whatever requests do, no more than the total is out, nothing is lost, and nobody is
// revoked after the end.
func TestBudgetNeverExceeded(t *testing.T) {
	o := options()
	o.Grace, o.Wait, o.Waiting = time.Millisecond, 50*time.Millisecond, 20
	b := NewBudget(o)
	var out atomic.Int64
	var all sync.WaitGroup
	for i := range 40 {
		r := rand.New(rand.NewPCG(uint64(i), 1))
		all.Go(func() {
			for range 50 {
				n := 1 + r.Int64N(60)
				var done atomic.Bool
				l, err := b.Acquire(t.Context(), addr(i%7), n, func() {
					if done.Load() {
						t.Error("revoked after the end")
					}
				})
				if err != nil {
					continue
				}
				if now := out.Add(n); now > o.Total {
					t.Errorf("%d are out", now)
				}
				for range r.IntN(2000) {
					_ = fmt.Sprint(n)
				}
				if r.IntN(2) == 0 {
					l.Settle()
					done.Store(true)
				}
				out.Add(-n)
				l.Release()
				l.Release()
			}
		})
	}
	all.Wait()
	if b.free != o.Total || len(b.held) != 0 || len(b.leases) != 0 || len(b.waiting) != 0 {
		t.Errorf("left: %d free, %v, %d, %d", b.free, b.held, len(b.leases), len(b.waiting))
	}
}
