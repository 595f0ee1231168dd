// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"net/netip"
	"sync"
)

// Pool is places for connections, or for other things that clients hold. What comes gets a place. If there are too
// many then, one is ended: of the address with the most places (that of an IPv6 network together count as well), the
// one that does least, and of these the one that has done so longest. So a client with few short requests gets its
// place, however many others hold. Safe for concurrent use.
type Pool struct {
	total, each int

	mu      sync.Mutex // guards all below, and the Places
	places  map[*Place]struct{}
	sources map[netip.Prefix]*source
	changes uint64 // for the order of ages
}

// source is an address or a network.
type source struct {
	of           netip.Prefix
	places, kept int
}

// weight is how many of the places may be ended.
func (s *source) weight() int { return s.places - s.kept }

// Place is a place in a Pool. End it with Leave.
type Place struct {
	pool         *Pool
	own, network *source
	end          func()

	does  int
	sends bool
	age   uint64
	kept  bool
}

// What a connection does, the least valuable first.
const (
	idle = iota
	fresh
	active
)

// NewPool returns a Pool for at most total places, and each of one address.
func NewPool(total, each int) *Pool {
	return &Pool{total: total, each: each, places: map[*Place]struct{}{}, sources: map[netip.Prefix]*source{}}
}

// Enter returns a place. If that makes too many, another one's end is called, which must not block; the new one's
// if all others are kept.
func (p *Pool) Enter(from netip.Addr, end func()) *Place {
	p.mu.Lock()
	in := &Place{pool: p, own: p.source(single(from)), network: p.source(networkOf(from)), end: end, does: fresh}
	in.count(1, 0)
	in.touch()
	p.places[in] = struct{}{}
	var out []*Place
	for in.own.weight() > p.each || len(p.places) > p.total {
		v := p.victim(in)
		p.drop(v)
		out = append(out, v)
		if v == in {
			break
		}
	}
	p.mu.Unlock()
	for _, v := range out {
		v.end()
	}
	return in
}

// Len returns how many places are taken.
func (p *Pool) Len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.places)
}

// victim is the place that must go for a new one; of the same address, if that has too many.
func (p *Pool) victim(in *Place) *Place {
	var worst *Place
	for c := range p.places {
		if c == in || c.kept || in.own.weight() > p.each && c.own != in.own {
			continue
		}
		if worst == nil || c.before(worst) {
			worst = c
		}
	}
	if worst == nil {
		return in
	}
	return worst
}

// before reports whether c goes rather than d.
func (c *Place) before(d *Place) bool {
	if a, b := c.weight(), d.weight(); a != b {
		return a > b
	}
	if a, b := c.rank(), d.rank(); a != b {
		return a < b
	}
	return c.age < d.age
}

// rank is what the connection does. One that waits for its client to read is worth as much as one that waits for its
// client to send: either is the client's doing.
func (c *Place) rank() int {
	if c.sends {
		return min(c.does, fresh)
	}
	return c.does
}

// weight grows with the places of the address and with those of its network. Neither alone will do: a host of IPv6
// has as many addresses as it likes, and the pods of a node share a network.
func (c *Place) weight() int { return c.own.weight() * c.network.weight() }

func (p *Pool) source(of netip.Prefix) *source {
	s := p.sources[of]
	if s == nil {
		s = &source{of: of}
		p.sources[of] = s
	}
	return s
}

// count adds to the places of its address and network.
func (c *Place) count(places, kept int) {
	c.own.places += places
	c.own.kept += kept
	if c.network != c.own {
		c.network.places += places
		c.network.kept += kept
	}
}

func (c *Place) touch() {
	c.pool.changes++
	c.age = c.pool.changes
}

func (p *Pool) drop(c *Place) {
	if _, ok := p.places[c]; !ok {
		return
	}
	delete(p.places, c)
	c.mark(false)
	c.count(-1, 0)
	for _, s := range []*source{c.own, c.network} {
		if s.places == 0 {
			delete(p.sources, s.of)
		}
	}
}

// Leave ends the place. Only the first call counts.
func (c *Place) Leave() {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.pool.drop(c)
}

// write notes that something is being sent to the client, or was sent as a whole. The client has read something.
func (c *Place) write(underWay bool) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.sends = underWay
	c.touch()
}

// set notes what a connection does.
func (c *Place) set(does int) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	c.does = does
	c.touch()
}

// keep exempts the place from being ended for others, or ends the exemption.
func (c *Place) keep(kept bool) {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if _, ok := c.pool.places[c]; ok {
		c.mark(kept)
	}
}

func (c *Place) mark(kept bool) {
	switch {
	case kept && !c.kept:
		c.count(0, 1)
	case !kept && c.kept:
		c.count(0, -1)
	}
	c.kept = kept
}
