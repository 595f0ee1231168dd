// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"math"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Rate is how often something may happen: PerSecond in the long run, and Burst times at once.
type Rate struct{ PerSecond, Burst float64 }

// Rates are the Rate of one address and of all addresses together. Burst of an address must be less than that of all.
type Rates struct{ Address, Total Rate }

const (
	// maxAccounts is how many addresses and networks a Meter remembers. For one more another one is forgotten.
	maxAccounts = 4096
	// quiet is a use that is not worth remembering.
	quiet = 0.05
)

// Meter counts by address how often something happens. Safe for concurrent use.
type Meter struct {
	rates Rates

	mu       sync.Mutex // guards all below
	used     float64    // of the Burst of all
	at       time.Time  // when that was true
	accounts map[netip.Prefix]*account
	swept    time.Time // when quiet accounts were last forgotten: looking at all of them costs
}

// account is what an address or a network has used. Use fades: after Burst/PerSecond seconds a third is left.
type account struct {
	used float64
	at   time.Time
}

func (a *account) fade(now time.Time, r Rate) {
	if d := now.Sub(a.at).Seconds(); d > 0 {
		a.used, a.at = a.used*math.Exp(-d*r.PerSecond/r.Burst), now
	}
}

// NewMeter returns a Meter. With zero Rates it has no limit.
func NewMeter(r Rates) *Meter { return &Meter{rates: r, accounts: map[netip.Prefix]*account{}} }

// Take reports whether it may happen once more for an address, and counts it if so. The more an address has used
// lately, the more of what all have together must be free: when all together ask for too much, those that ask for
// least are served. What its network has used counts as well: a host of IPv6 has as many addresses as it likes.
func (m *Meter) Take(from netip.Addr, now time.Time) bool {
	if m.rates.Total.Burst == 0 {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	one, all := m.rates.Address, m.rates.Total
	if d := now.Sub(m.at).Seconds(); d > 0 {
		m.used, m.at = max(0, m.used-d*all.PerSecond), now
	}
	own := m.account(single(from), now)
	network := own
	if n := networkOf(from); n != single(from) {
		network = m.account(n, now)
	}
	// On a logarithmic scale, so that at every level an address that used half as much has a part of its own.
	scale := (math.Log1p(own.used) + math.Log1p(min(network.used, one.Burst))) / (2 * math.Log1p(one.Burst))
	if own.used+1 > one.Burst || m.used+1 > all.Burst-scale*(all.Burst-one.Burst) {
		return false
	}
	m.used++
	own.used++
	if network != own {
		network.used++
	}
	return true
}

func (m *Meter) account(p netip.Prefix, now time.Time) *account {
	a := m.accounts[p]
	if a == nil {
		m.forget(now)
		a = &account{at: now}
		m.accounts[p] = a
	}
	a.fade(now, m.rates.Address)
	return a
}

// forget keeps the number of accounts below the limit.
func (m *Meter) forget(now time.Time) {
	if len(m.accounts) >= maxAccounts && now.Sub(m.swept) >= time.Second {
		m.swept = now
		for p, a := range m.accounts {
			if a.fade(now, m.rates.Address); a.used < quiet {
				delete(m.accounts, p)
			}
		}
	}
	for p := range m.accounts {
		if len(m.accounts) < maxAccounts {
			return
		}
		delete(m.accounts, p) // any: there are more addresses than can be told apart
	}
}

// Source is the address of a connection's other side, without port and zone. The zero Addr if it has none.
func Source(a net.Addr) netip.Addr {
	if a == nil {
		return netip.Addr{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap().WithZone("")
}

// single is an address as a network of one.
func single(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

// networkOf is the network that a host has its addresses from: the /64 of IPv6, and of IPv4 the address alone.
func networkOf(a netip.Addr) netip.Prefix {
	p, _ := a.Prefix(min(a.BitLen(), 64)) // of an address with as many bits
	return p
}
