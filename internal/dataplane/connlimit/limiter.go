// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package connlimit

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// WriteTimeout is how long a client may take to read what one write sends, for example a whole answer.
const WriteTimeout = 10 * time.Second

// Limiter bounds the open connections of one server, and the rate of requests. Safe for concurrent use.
type Limiter struct {
	limit int

	mu    sync.Mutex
	open  map[*conn]struct{}
	count uint64 // of changes, for the order of ages
	rates rates
}

// New returns a Limiter for at most limit connections, which must be positive.
func New(limit int) *Limiter {
	return &Limiter{limit: limit, open: map[*conn]struct{}{}, rates: rates{perSource: ratePerSource, ofAll: rateOfAll}}
}

// Serve makes the server answer on l until l is closed. The caller must not have set the server's
// ConnState and ConnContext.
func (l *Limiter) Serve(s *http.Server, inner net.Listener) error {
	s.ConnState = l.change
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, key{}, c) }
	return s.Serve(&listener{inner, l})
}

// key is that of the connection in the context of a request.
type key struct{}

// Keep exempts the connection of a request from being closed in favour of others, until the connection's
// next request. Call it only for a request that a stranger cannot make.
func Keep(r *http.Request) {
	if c, ok := r.Context().Value(key{}).(*conn); ok {
		c.limiter.mu.Lock()
		c.kept = true
		c.limiter.mu.Unlock()
	}
}

// conn is an open connection. Fields below are guarded by the Limiter's lock.
type conn struct {
	net.Conn
	limiter *Limiter
	source  netip.Prefix

	rank int // what it is doing, the least valuable first
	age  uint64
	kept bool
	paid bool // its next request is counted already
}

// Ranks.
const (
	rankIdle = iota
	rankNew
	rankActive
)

type listener struct {
	net.Listener
	limiter *Limiter
}

// Accept returns the next connection of a client that does not make too many, and closes another connection
// if too many are open.
func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.limiter.admit(raw); c != nil {
			return c, nil
		}
	}
}

// admit returns nil if it has closed the connection.
func (l *Limiter) admit(raw net.Conn) *conn {
	c := &conn{Conn: raw, limiter: l, source: sourceOf(raw.RemoteAddr()), rank: rankNew, paid: true}
	l.mu.Lock()
	if !l.rates.take(c.source, time.Now()) {
		l.mu.Unlock()
		raw.Close()
		return nil
	}
	var out *conn
	if len(l.open) >= l.limit {
		if out = l.victim(c); out != nil {
			delete(l.open, out)
		}
	}
	l.count++
	c.age = l.count
	if out != c {
		l.open[c] = struct{}{}
	}
	l.mu.Unlock()
	if out != nil {
		out.Conn.Close()
	}
	if out == c {
		return nil
	}
	return c
}

// victim returns the connection to close for a new one. If all others are kept, it is the new one itself.
func (l *Limiter) victim(newest *conn) *conn {
	held := map[netip.Prefix]int{newest.source: 1}
	for c := range l.open {
		if !c.kept {
			held[c.source]++
		}
	}
	var worst *conn
	for c := range l.open {
		if !c.kept && (worst == nil || c.before(worst, held)) {
			worst = c
		}
	}
	if worst == nil {
		return newest
	}
	return worst
}

// before reports whether c is closed rather than d.
func (c *conn) before(d *conn, held map[netip.Prefix]int) bool {
	if a, b := held[c.source], held[d.source]; a != b {
		return a > b
	}
	if c.rank != d.rank {
		return c.rank < d.rank
	}
	return c.age < d.age
}

// change notes what the server says about a connection.
func (l *Limiter) change(raw net.Conn, s http.ConnState) {
	c, ok := raw.(*conn)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch s {
	case http.StateNew:
		return
	case http.StateClosed, http.StateHijacked:
		delete(l.open, c)
		return
	case http.StateActive:
		if !c.paid && !l.rates.take(c.source, time.Now()) {
			c.Conn.Close()
			return
		}
		c.rank, c.paid = rankActive, false
	case http.StateIdle:
		c.rank, c.kept = rankIdle, false
	}
	l.count++
	c.age = l.count
}

// Write sends p. A client that does not read ends its connection: what waits for it takes memory.
func (c *conn) Write(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(WriteTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// sourceOf is the client that an address stands for: a host may choose among the addresses of an IPv6 network.
func sourceOf(a net.Addr) netip.Prefix {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits) // of an address with as many bits
	return p
}
