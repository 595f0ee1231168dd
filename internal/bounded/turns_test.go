// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// has reports whether a turn has come.
func (u *Turn) has() bool {
	select {
	case <-u.Ready():
		return true
	default:
		return false
	}
}

// use has a client use a turn for a time.
func use(t *testing.T, turns *Turns, who Client, d time.Duration) {
	t.Helper()
	u := turns.Queue(who)
	<-u.Ready()
	time.Sleep(d)
	u.End()
}

func client(i int, group string) Client { return Client{Address: addr(i), Group: group} }

// TestNextTurn: the next turn is that of the address and group that used least lately, then of who came first.
func TestNextTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(TurnOptions{Places: 1, Each: 1, Longest: 10 * time.Second})
		use(t, turns, client(1, "a"), 8*time.Second)
		use(t, turns, client(2, "b"), 2*time.Second)
		use(t, turns, client(3, "b"), time.Second)
		now := turns.Queue(client(9, "z"))
		queue := []*Turn{
			turns.Queue(client(1, "a")), // 9 * 9
			turns.Queue(client(2, "b")), // 3 * 4
			turns.Queue(client(4, "a")), // 1 * 9
			turns.Queue(client(3, "b")), // 2 * 4
			turns.Queue(client(5, "c")),
			turns.Queue(client(6, "d")),
		}
		for _, next := range []int{4, 5, 3, 2, 1, 0} {
			time.Sleep(time.Millisecond)
			now.End()
			now = queue[next]
			if !now.has() {
				t.Fatalf("%d is not next", next)
			}
		}
		now.End()
		now.End()
		if n := turns.Taken(); n != 0 {
			t.Errorf("%d turns are taken", n)
		}
	})
}

// TestTurnsFade: what was used long ago does not count.
func TestTurnsFade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(TurnOptions{Places: 1, Each: 1, Longest: time.Minute})
		use(t, turns, client(1, "a"), time.Minute)
		time.Sleep(20 * time.Minute)
		use(t, turns, client(2, "b"), time.Second)
		now := turns.Queue(client(3, "c"))
		second, first := turns.Queue(client(2, "b")), turns.Queue(client(1, "a"))
		now.End()
		if !first.has() || second.has() {
			t.Error("the wrong one is next")
		}
	})
}

// TestTurnsEach: an address has as many turns as it may at a time, and others come meanwhile; who stops waiting takes
// no place.
func TestTurnsEach(t *testing.T) {
	turns := NewTurns(TurnOptions{Places: 3, Each: 2, Longest: time.Second})
	var own []*Turn
	for range 4 {
		own = append(own, turns.Queue(client(1, "a")))
	}
	if other := turns.Queue(client(2, "b")); !own[1].has() || own[2].has() || !other.has() {
		t.Error("an address has too many or too few")
	}
	own[2].End()
	own[0].End()
	if !own[3].has() || own[2].has() {
		t.Error("the next of the address has no turn")
	}
}

// TestTurnsPart: an address has turns for a part of the time, also while nobody else waits, and at first for longer.
func TestTurnsPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(TurnOptions{Places: 2, Each: 1, Longest: 10 * time.Second, Part: 4, Ahead: 40 * time.Second})
		began := time.Now()
		for range 100 {
			use(t, turns, client(1, "a"), 10*time.Second)
		}
		if took := time.Since(began); took < 3900*time.Second || took > 4000*time.Second {
			t.Errorf("1000 s of turns take %v", took)
		}
		time.Sleep(10 * time.Minute)
		began = time.Now()
		for range 1000 { // what is left of a turn is given back
			use(t, turns, client(1, "a"), 10*time.Millisecond)
		}
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("short turns have to wait: %v", took)
		}
	})
}

// TestTurnsForget: any number of addresses is remembered in bounded memory, and those that have or wait for a turn
// always.
func TestTurnsForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := NewTurns(TurnOptions{Places: 1, Each: 1, Longest: time.Second, Part: 6})
		held := turns.Queue(client(1, "a"))
		waits := turns.Queue(client(2, "b"))
		for i := range 3 * maxTurnAccounts {
			turns.Queue(Client{Address: netip.AddrFrom16([16]byte{0x20, 1, 2: byte(i >> 16), 3: byte(i >> 8), 4: byte(i)})}).End()
			if i%100 == 0 {
				time.Sleep(time.Second)
			}
			if n := len(turns.addresses); n > maxTurnAccounts+200 {
				t.Fatalf("%d addresses are remembered", n)
			}
		}
		held.End()
		if !waits.has() || len(turns.addresses) > maxTurnAccounts || len(turns.groups) > maxTurnAccounts {
			t.Error("a turn was lost, or accounts stay")
		}
	})
}
