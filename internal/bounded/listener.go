// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package bounded

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Connections bounds the connections of a listener.
type Connections struct {
	// Total and PerAddress are how many may be open, and open from one address. Both are required.
	Total, PerAddress int
	// Age is how long a connection may last. 0: without limit.
	Age time.Duration
	// Write is how long a client may take to read what one write sends; the kernel then also holds less than a
	// megabyte for it. A client that has read something was served just now: others go first when there are too
	// many. 0: without limit.
	Write time.Duration
	// Rates bound how often connections come, before TLS begins on them, and requests on connections that are
	// open already, but for those of HTTP/2. Zero: without limit.
	Rates Rates
	// Closed, if set, is called with a reason when a connection is closed because of a bound.
	Closed func(reason string)
}

// Reasons why a connection is closed.
const (
	ReasonRate        = "rate"        // connections or requests come too often
	ReasonConnections = "connections" // another one came, and this one's address has most, or it is older
	ReasonAge         = "age"         // it lasted too long
)

// Reasons returns all reasons.
func Reasons() []string { return []string{ReasonAge, ReasonConnections, ReasonRate} }

// RequestRates are for Connections.Rates of a server of plain HTTP that answers from memory: a request takes about a
// tenth of a millisecond of processor time, and the kubelet and Prometheus make some tens in a second.
func RequestRates() Rates {
	return Rates{Address: Rate{PerSecond: 500, Burst: 500}, Total: Rate{PerSecond: 1500, Burst: 1500}}
}

// Write is for Connections.Write of a server of HTTP. What waits for a client takes memory of the kernel.
const Write = 10 * time.Second

// Listen bounds the connections of l. One that comes too often is closed. Any other is accepted, and if there are too
// many then, one is closed as a Pool says.
func Listen(l net.Listener, most Connections) net.Listener {
	if most.Closed == nil {
		most.Closed = func(string) {}
	}
	return &listener{Listener: l, most: most, pool: NewPool(most.Total, most.PerAddress), meter: NewMeter(most.Rates)}
}

// buffer is how much the kernel holds for a client that does not read, in bytes; it takes up to twice as much for it.
const buffer = 256 << 10

type listener struct {
	net.Listener
	most  Connections
	pool  *Pool
	meter *Meter
}

// Conn is a connection of a listener of Listen.
type Conn struct {
	net.Conn
	l    *listener
	from netip.Addr
	age  *time.Timer
	paid bool // its next request is counted already; used by the server's goroutine of the connection

	mu     sync.Mutex // guards all below
	place  *Place
	closed bool
	until  time.Time // what the server has set as the end of writes
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // what servers look at
		}
		c := &Conn{Conn: raw, l: l, from: Source(raw.RemoteAddr()), paid: true}
		if !l.meter.Take(c.from, time.Now()) {
			c.end(ReasonRate)
			continue
		}
		limitUnacknowledged(raw)
		if tcp, ok := raw.(*net.TCPConn); ok && l.most.Write > 0 {
			_ = tcp.SetWriteBuffer(buffer)
		}
		if l.most.Age > 0 {
			c.age = time.AfterFunc(l.most.Age, func() { c.end(ReasonAge) })
		}
		c.place = l.pool.Enter(c.from, func() { c.end(ReasonConnections) })
		return c, nil
	}
}

// Move gives a connection a place in another pool, whose bound it has from now on, and where it counts for an
// address. closed is called if it is closed because of that.
func (c *Conn) Move(to *Pool, of netip.Addr, closed func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.place.Leave()
	c.place = to.Enter(of, func() {
		closed()
		c.reset()
	})
}

// end closes a connection because of a bound. Its reader sees that and closes it as well.
func (c *Conn) end(reason string) {
	c.l.most.Closed(reason)
	c.reset()
}

// reset closes a connection and has the kernel forget what waits for its client.
func (c *Conn) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Conn.Close()
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	if c.age != nil {
		c.age.Stop()
	}
	c.mu.Lock()
	c.closed = true
	c.place.Leave()
	c.mu.Unlock()
	return c.Conn.Close() //nolint:wrapcheck // what servers look at
}

// Write implements net.Conn. A client that does not read ends its connection.
func (c *Conn) Write(p []byte) (n int, err error) {
	if c.l.most.Write == 0 {
		return c.Conn.Write(p) //nolint:wrapcheck // what servers look at
	}
	c.mu.Lock()
	end := time.Now().Add(c.l.most.Write)
	if !c.until.IsZero() && c.until.Before(end) {
		end = c.until
	}
	err = c.Conn.SetWriteDeadline(end)
	c.mu.Unlock()
	for err == nil && n < len(p) {
		c.place.write(true)
		var m int
		m, err = c.Conn.Write(p[n:min(len(p), n+piece)])
		n += m
	}
	c.place.write(false)
	if err != nil {
		c.reset()
	}
	return n, err //nolint:wrapcheck // what servers look at
}

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until = t
	return c.Conn.SetWriteDeadline(t) //nolint:wrapcheck // what servers look at
}

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// connKey is that of the connection in the context of a request.
type connKey struct{}

func withConn(ctx context.Context, raw net.Conn) context.Context {
	if c, _ := below(raw); c != nil {
		return context.WithValue(ctx, connKey{}, c)
	}
	return ctx
}

// Keep exempts the connection of a request from being closed in favor of others, until the connection's next
// request. Call it only for a request that a stranger cannot make.
func Keep(r *http.Request) {
	if c, ok := r.Context().Value(connKey{}).(*Conn); ok {
		c.place.keep(true)
	}
}

// below returns the connection that a server's connection stands on, and whether it speaks HTTP/2; nil if that is
// not of this package.
func below(raw net.Conn) (c *Conn, http2 bool) {
	if t, ok := raw.(*tls.Conn); ok {
		c, _ = t.NetConn().(*Conn)
		return c, t.ConnectionState().NegotiatedProtocol == "h2"
	}
	c, _ = raw.(*Conn)
	return c, false
}

// serving notes what a server does with a connection. It is an http.Server's ConnState.
func serving(raw net.Conn, state http.ConnState) {
	if state != http.StateActive && state != http.StateIdle {
		return
	}
	c, http2 := below(raw)
	switch {
	case c == nil:
	case state == http.StateIdle:
		c.place.keep(false)
		c.place.set(idle)
	case !http2 && !c.paid && !c.l.meter.Take(c.from, time.Now()):
		c.end(ReasonRate)
	default:
		c.paid = false
		c.place.set(active)
	}
}
