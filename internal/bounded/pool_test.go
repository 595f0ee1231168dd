// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// come lets a connection of an address in and returns it, and the ages of those that had to go.
func (p *Pool) come(from netip.Addr, gone *[]uint64) *Place {
	var c *Place
	c = p.Enter(from, func() { *gone = append(*gone, c.age) })
	return c
}

// TestConnections: what goes is of the address with most, idle and old; what comes is never turned away.
func TestConnections(t *testing.T) {
	p := NewPool(6, 4)
	var gone []uint64
	took := func(what string, want ...uint64) {
		t.Helper()
		if !slices.Equal(gone, want) {
			t.Errorf("%s: %v had to go, want %v", what, gone, want)
		}
		gone = nil
	}
	api := p.come(addr(9), &gone)
	api.set(active)
	var flood []*Place
	for range 4 {
		flood = append(flood, p.come(addr(1), &gone))
	}
	took("within the limits")
	p.come(addr(1), &gone)
	took("an address has more than its own", flood[0].age)
	flood[1].set(active)
	p.come(addr(2), &gone)
	took("as many as there may be")
	p.come(addr(3), &gone)
	took("the oldest of the address with most, which serves no request", flood[2].age)
	flood[3].Leave()
	flood[3].Leave()
	flood[1].Leave()
	if n := p.Len(); n != 4 {
		t.Errorf("%d are counted", n)
	}
	// Any number of addresses with one connection each reach the API server's busy one last.
	for i := 10; i < 100; i++ {
		p.come(addr(i), &gone)
	}
	if slices.Contains(gone, api.age) || p.Len() != 6 {
		t.Errorf("the API server's connection had to go; %d are counted", p.Len())
	}
}

// TestNetworks: a host that has a network of IPv6 addresses makes room for one that has few connections, and so does
// a pod for another pod of the same network.
func TestNetworks(t *testing.T) {
	for name, flood := range map[string]func(i int) netip.Addr{
		"all addresses of a network": func(i int) netip.Addr { return netip.MustParseAddr(fmt.Sprintf("2001:db8:0:1::%x", i+1)) },
		"a pod of the same node":     func(int) netip.Addr { return netip.MustParseAddr("2001:db8:0:2::99") },
	} {
		t.Run(name, func(t *testing.T) {
			p := NewPool(20, 20)
			var gone []uint64
			var few []*Place
			for range 2 {
				few = append(few, p.come(netip.MustParseAddr("2001:db8:0:2::3"), &gone))
			}
			for i := range 100 {
				p.come(flood(i), &gone)
			}
			for _, c := range few {
				if slices.Contains(gone, c.age) {
					t.Error("a client with two connections lost one")
				}
			}
			if p.Len() != 20 {
				t.Errorf("%d are open", p.Len())
			}
		})
	}
}

// TestConnectionsRandom: the counts hold whatever comes and goes, and nothing is left at the end.
func TestConnectionsRandom(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 0))
	p := NewPool(20, 7)
	var all []*Place
	from := []netip.Addr{netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8:1::1")}
	for i := range 6 {
		from = append(from, addr(i))
	}
	for range 20_000 {
		switch r.IntN(5) {
		case 0:
			if len(all) > 0 {
				all[r.IntN(len(all))].Leave() // perhaps once more
			}
		case 1:
			if len(all) > 0 {
				all[len(all)-1-r.IntN(min(len(all), 30))].keep(r.IntN(3) == 0)
			}
		default:
			c := p.Enter(from[r.IntN(len(from))], func() {})
			c.set(r.IntN(3))
			all = append(all, c)
		}
		places, kept, n := map[netip.Prefix]int{}, map[netip.Prefix]int{}, 0
		for c := range p.places {
			n++
			for _, of := range slices.Compact([]netip.Prefix{c.own.of, c.network.of}) {
				places[of]++
				if c.kept {
					kept[of]++
				}
			}
		}
		for of, s := range p.sources {
			if s.places != places[of] || s.kept != kept[of] || s.places == 0 {
				t.Fatalf("%v: %d places, %d kept, counted as %+v", of, places[of], kept[of], s)
			}
		}
		if n > 20 || len(p.sources) != len(places) {
			t.Fatalf("%d places, %d sources counted as %d", n, len(places), len(p.sources))
		}
	}
	for _, c := range all {
		c.Leave()
	}
	if p.Len() != 0 || len(p.sources) != 0 {
		t.Errorf("%d places and %d sources are left", p.Len(), len(p.sources))
	}
}
