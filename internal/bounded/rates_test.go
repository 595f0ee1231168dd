// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// numbered is one of many addresses.
func numbered(n int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
}

// burst lets an address ask n times at once and returns how often it gets something.
func (m *Meter) burst(from netip.Addr, n int, now time.Time) (got int) {
	for range n {
		if m.Take(from, now) {
			got++
		}
	}
	return got
}

// TestRates: an address gets its rate and no more, also if it is alone, all together get theirs and no more, and one
// with few requests gets answers meanwhile.
func TestRates(t *testing.T) {
	r := RequestRates()
	own, all := int(r.Address.Burst), int(r.Total.Burst)
	m, now := NewMeter(r), time.Unix(1000, 0)
	if got := m.burst(numbered(1), 10*own, now); got != own {
		t.Errorf("one address gets %d at once", got)
	}
	if got := m.burst(numbered(2), 10, now); got != 10 {
		t.Errorf("another gets %d of 10", got)
	}
	now = now.Add(100 * time.Millisecond)
	if got := m.burst(numbered(1), 10*own, now); got < own/10-5 || got > own/10 {
		t.Errorf("after 0.1 s one address gets %d more", got)
	}
	for _, flooding := range []int{1, 3, 30, 100} {
		m, began, flood, quiet, asked := NewMeter(r), now, 0, 0, 0
		for step := range 300 { // 3 s
			now = now.Add(10 * time.Millisecond)
			for i := range flooding {
				flood += m.burst(numbered(100+i), max(1, min(20, 60/flooding)), now)
			}
			if step%10 == 0 { // 10 a second
				asked++
				quiet += m.burst(numbered(3), 1, now)
			}
		}
		took := now.Sub(began).Seconds()
		if most := r.Total.Burst + took*r.Total.PerSecond; float64(flood+quiet) > most {
			t.Errorf("%d addresses get %d in %v s, want %v at most", flooding, flood, took, most)
		}
		if least := min(float64(flooding)*r.Address.PerSecond, r.Total.PerSecond) * 0.9 * took; float64(flood) < least {
			t.Errorf("%d addresses get %d in %v s, want %v at least", flooding, flood, took, least)
		}
		if quiet != asked {
			t.Errorf("a quiet address gets %d of %d during a flood from %d", quiet, asked, flooding)
		}
	}
	if got := m.burst(numbered(1), 10*all, now.Add(time.Hour)); got != own {
		t.Errorf("an hour later one address gets %d", got)
	}
	if got := NewMeter(Rates{}).burst(numbered(1), 10*all, now); got != 10*all {
		t.Errorf("without a limit an address gets %d", got)
	}
}

// TestRatesOfNetworks: a host that asks from all addresses of an IPv6 network does not shut out others.
func TestRatesOfNetworks(t *testing.T) {
	m, now := NewMeter(RequestRates()), time.Unix(1000, 0)
	quiet, asked := 0, 0
	for i := range 30_000 { // 3 s
		now = now.Add(100 * time.Microsecond)
		m.Take(netip.MustParseAddr(fmt.Sprintf("2001:db8::%x:%x", i>>16, i&0xffff)), now)
		if i%1000 == 0 {
			asked++
			quiet += m.burst(netip.MustParseAddr("2001:db8:1::1"), 1, now)
		}
	}
	if quiet != asked {
		t.Errorf("another gets %d of %d", quiet, asked)
	}
}

// TestRatesAreBounded: ever new addresses take no more memory than allowed, and those that are quiet are
// forgotten.
func TestRatesAreBounded(t *testing.T) {
	m, now := NewMeter(RequestRates()), time.Unix(1000, 0)
	for i := range 3 * maxAccounts {
		m.Take(numbered(i), now)
	}
	if len(m.accounts) != maxAccounts {
		t.Errorf("%d addresses are counted", len(m.accounts))
	}
	now = now.Add(10 * time.Second)
	m.Take(numbered(1<<22), now)
	if len(m.accounts) != 1 {
		t.Errorf("%d addresses are remembered after ten seconds of quiet", len(m.accounts))
	}
}
