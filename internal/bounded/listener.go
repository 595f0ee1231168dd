// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Connections bounds the connections of a listener.
type Connections struct {
	// Total and PerAddress are how many may be open, and open from one address. Both are required.
	Total, PerAddress int
	// Age is how long a connection may last. 0: without limit.
	Age time.Duration
}

// Listen bounds the connections of l. A new connection is always accepted: if there are too many then, one
// is closed, of the address with the most connections the oldest, and first of those that serve no request.
// A client with few connections is therefore reached by no flood from others.
func Listen(l net.Listener, most Connections) net.Listener {
	return &listener{Listener: l, most: most, open: map[netip.Addr][]*conn{}}
}

type listener struct {
	net.Listener
	most Connections

	mu    sync.Mutex             // guards all below, and the conns' busy
	open  map[netip.Addr][]*conn // in the order in which they came
	count int
	next  uint64
}

// conn is a connection that is counted.
type conn struct {
	net.Conn
	l    *listener
	from netip.Addr
	seq  uint64
	busy bool
	age  *time.Timer
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	raw, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, l: l}
	if a, ok := raw.RemoteAddr().(*net.TCPAddr); ok {
		c.from = a.AddrPort().Addr().Unmap()
	}
	if l.most.Age > 0 {
		c.age = time.AfterFunc(l.most.Age, func() { _ = raw.Close() })
	}
	for _, old := range l.add(c) {
		_ = old.Conn.Close() // its reader sees the end and closes it
	}
	return c, nil
}

// add counts a connection and returns those that must go for it, which are counted no more.
func (l *listener) add(c *conn) []*conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	c.seq = l.next
	l.open[c.from] = append(l.open[c.from], c)
	l.count++
	var out []*conn
	for {
		from := c.from
		if len(l.open[from]) <= l.most.PerAddress {
			if l.count <= l.most.Total {
				return out
			}
			from = l.heaviest()
		}
		old := victim(l.open[from], c)
		if old == nil {
			return out // a limit of 0
		}
		l.drop(old)
		out = append(out, old)
	}
}

// heaviest is the address with the most connections; of several one with a connection that serves no
// request, and then that whose first connection is oldest.
func (l *listener) heaviest() netip.Addr {
	type weight struct {
		size int
		idle bool
		seq  uint64
	}
	var out netip.Addr
	var most weight
	for from, list := range l.open {
		w := weight{len(list), slices.ContainsFunc(list, func(c *conn) bool { return !c.busy && c.seq != l.next }), list[0].seq}
		if w.size > most.size || w.size == most.size && (w.idle && !most.idle || w.idle == most.idle && w.seq < most.seq) {
			out, most = from, w
		}
	}
	return out
}

// victim is the oldest connection that serves no request, or else the oldest; never the newest of all.
func victim(list []*conn, newest *conn) *conn {
	if i := slices.IndexFunc(list, func(c *conn) bool { return !c.busy && c != newest }); i >= 0 {
		return list[i]
	}
	if list[0] == newest {
		return nil
	}
	return list[0]
}

func (l *listener) drop(c *conn) {
	list := l.open[c.from]
	i := slices.Index(list, c)
	if i < 0 {
		return
	}
	l.count--
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(l.open, c.from)
		return
	}
	l.open[c.from] = list
}

// Close implements net.Conn.
func (c *conn) Close() error {
	if c.age != nil {
		c.age.Stop()
	}
	c.l.mu.Lock()
	c.l.drop(c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// serving notes which connections serve a request. It is an http.Server's ConnState.
func serving(nc net.Conn, state http.ConnState) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.busy = state == http.StateActive
}
