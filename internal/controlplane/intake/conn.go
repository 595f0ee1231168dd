// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package intake

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"tulle.dev/tulle/internal/bounded"
)

// Bounds of the bytes of requests that are not complete, or not handled yet.
const (
	// ownBytes a connection may always hold: HTTP/2's window of a stream, and some.
	ownBytes = 80 << 10
	// frameBytes is what a frame costs besides its bytes.
	frameBytes = 96
	// passes are how many connections may hold more at a time. A connection waits up to patience for one,
	// less than keepalive takes to give it up, and has it for passTime.
	passes   = 8
	patience = 30 * time.Second
	passTime = 10 * time.Second
	// An address has one pass at a time, for a sixth of the time, and at first for longer.
	passPart  = 6
	passAhead = 120 * time.Second
	// grace is how long a client has to read why its stream was ended.
	grace = 2 * time.Second
)

// Credentials returns credentials whose connections are bounded. The peer of a stream then has an AuthInfo
// that TLS reads.
func (in *Intake) Credentials(c credentials.TransportCredentials) credentials.TransportCredentials {
	return counted{c, in}
}

type counted struct {
	credentials.TransportCredentials
	in *Intake
}

// ServerHandshake makes a stranger a peer.
func (b counted) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := b.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // what gRPC looks at
	}
	tls, ok := info.(credentials.TLSInfo)
	if !ok {
		_ = c.Close() // of no use
		return nil, nil, errors.New("not TLS")
	}
	host := b.in.opts.CountedAs(tls.State)
	if !host.IsValid() {
		host = bounded.Source(raw.RemoteAddr())
	}
	if a, ok := raw.(*bounded.Conn); ok { // its certificate was verified
		a.Move(b.in.peers, host, func() { b.in.closed.WithLabelValues(reasonConnections).Inc() })
	}
	m := &conn{Conn: c, in: b.in, client: bounded.Client{Address: host, Group: b.in.opts.Group(tls.State)}, skip: len(preface), gone: make(chan struct{})}
	return m, authInfo{tls, m}, nil
}

// Clone returns a copy.
func (b counted) Clone() credentials.TransportCredentials {
	return counted{b.TransportCredentials.Clone(), b.in}
}

// authInfo is that of TLS, and the connection.
type authInfo struct {
	credentials.TLSInfo
	conn *conn
}

// TLS returns what TLS says of a peer, of a connection of an Intake or of any other.
func TLS(info credentials.AuthInfo) (credentials.TLSInfo, bool) {
	switch i := info.(type) {
	case authInfo:
		return i.TLSInfo, true
	case credentials.TLSInfo:
		return i, true
	}
	return credentials.TLSInfo{}, false
}

// Handled is to be called when a request of that many bytes has been handled, on the context of its stream.
func Handled(ctx context.Context, bytes int) {
	if p, ok := peer.FromContext(ctx); ok {
		if i, ok := p.AuthInfo.(authInfo); ok {
			i.conn.handled(bytes)
		}
	}
}

// Ended is to be called when a stream was ended because of its client, on the stream's context. The
// connection is closed soon: a client that does not read would keep the stream's responses in memory.
func Ended(ctx context.Context) {
	if p, ok := peer.FromContext(ctx); ok {
		if i, ok := p.AuthInfo.(authInfo); ok {
			i.conn.leave.Do(func() { time.AfterFunc(grace, func() { _ = i.conn.Close() }) })
		}
	}
}

// preface is what a client's connection begins with (RFC 9113, section 3.4).
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// conn is a connection above TLS. It reads along in the frames of HTTP/2 to count the bytes of requests.
type conn struct {
	net.Conn
	in *Intake
	// client is for whom its passes count.
	client bounded.Client
	gone   chan struct{} // closed with the connection
	once   sync.Once
	// leave begins the grace after which the connection is closed.
	leave sync.Once

	// Used by the goroutine that reads, only.
	skip int     // bytes until the next frame
	head [9]byte // of the next frame
	have int     // bytes of it

	mu     sync.Mutex    // guards the rest
	bytes  int           // of requests
	frames int           // that these came in
	pass   *bounded.Turn // nil: it has none
	timer  *time.Timer   // of the pass
}

// errBytes ends a connection.
var errBytes = errors.New("the connection holds too many bytes of requests that are not complete")

// Read reads, and waits while others hold what this connection needs.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if bytes, frames := c.count(p[:n]); frames > 0 {
		if e := c.take(bytes, frames); e != nil {
			_ = c.Close() // it is over in any case
			return 0, e
		}
	}
	return n, err //nolint:wrapcheck // what gRPC looks at
}

// count reads along and returns the bytes of the DATA frames that begin in p, and how many these are.
func (c *conn) count(p []byte) (bytes, frames int) {
	for len(p) > 0 {
		if c.skip > 0 {
			n := min(c.skip, len(p))
			c.skip, p = c.skip-n, p[n:]
			continue
		}
		n := copy(c.head[c.have:], p)
		c.have, p = c.have+n, p[n:]
		if c.have < len(c.head) {
			break
		}
		c.have = 0
		c.skip = int(c.head[0])<<16 | int(c.head[1])<<8 | int(c.head[2])
		if c.head[3] == 0 { // DATA
			bytes += c.skip
			frames++
		}
	}
	return bytes, frames
}

// held is what the connection holds. The lock must be held.
func (c *conn) held() int { return c.bytes + c.frames*frameBytes }

func (c *conn) take(bytes, frames int) error {
	limit := c.in.opts.Request()
	c.mu.Lock()
	c.bytes += bytes
	c.frames += frames
	held, pass := c.held(), c.pass != nil
	c.mu.Unlock()
	switch {
	case held > limit+limit/2+ownBytes:
		c.in.closed.WithLabelValues(reasonBytes).Inc()
		return errBytes
	case held <= ownBytes || pass:
		return nil
	}
	return c.wait()
}

// wait gets a pass, in turn.
func (c *conn) wait() error {
	slow := func() error {
		c.in.closed.WithLabelValues(reasonSlow).Inc()
		return errBytes
	}
	pass := c.in.large.Queue(c.client)
	patience := time.NewTimer(c.in.opts.patience)
	defer patience.Stop()
	select {
	case <-pass.Ready():
	case <-patience.C:
		pass.End()
		return slow()
	case <-c.gone:
		pass.End()
		return net.ErrClosed
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.gone:
		pass.End()
		return net.ErrClosed
	default:
	}
	c.pass = pass
	c.timer = time.AfterFunc(c.in.opts.pass, func() {
		_ = slow()
		_ = c.Close() // the request should have been complete by now
	})
	c.settle()
	return nil
}

// handled takes off what is not held any more.
func (c *conn) handled(bytes int) {
	const prefix = 5 // of a message, in gRPC
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bytes = max(0, c.bytes-bytes-prefix)
	c.frames = max(0, c.frames-1-bytes/1024) // a client that sends smaller frames is charged for them
	if c.bytes == 0 {
		c.frames = 0
	}
	c.settle()
}

// settle gives the pass back when it is not needed any more. The lock must be held.
func (c *conn) settle() {
	if c.pass != nil && c.held() <= ownBytes {
		c.giveBack()
	}
}

func (c *conn) giveBack() {
	c.pass.End()
	c.pass = nil
	c.timer.Stop()
}

// Close closes the connection and gives back what it has.
func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.gone)
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.pass != nil {
			c.giveBack()
		}
	})
	return c.Conn.Close() //nolint:wrapcheck // passed on
}
