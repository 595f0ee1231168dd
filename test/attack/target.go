// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package attack

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// host is what attackers call the server.
const host = "www.example.com"

// Target is a port, and how hard it is attacked.
type Target struct {
	// Dial opens a connection without TLS.
	Dial dial
	// HTTP1 and HTTP2 open connections for these protocols, with TLS. If nil, they are Dial.
	HTTP1, HTTP2 dial
	// Connections is how many connections an attack has at a time that sends much on each of them.
	Connections int
	// Held is how many connections an attack has at a time that sends little on each of them.
	Held int
	// Pace bounds what is sent. If nil, nothing does.
	Pace *Pace
	// Count counts what happened. It may be nil.
	Count *Count
}

type dial = func(context.Context) (net.Conn, error)

// Attack is something that a client may do.
type Attack struct {
	Name string
	// Flood attacks take the server's processor time for as long as they last. The others take memory and
	// connections, and hold them.
	Flood bool
	// Do attacks until ctx is done, and leaves nothing open.
	Do func(ctx context.Context, to Target)
}

// Count counts what an attack does. Its zero value is ready; it is safe for concurrent use.
type Count struct {
	connections, refused, sent atomic.Int64
}

// Done is what an attack did: Connections were opened, Refused were not, and Sent are frames, requests and
// pieces of them.
type Done struct {
	Connections, Refused, Sent int64
}

// Done returns what was counted until now.
func (c *Count) Done() Done { return Done{c.connections.Load(), c.refused.Load(), c.sent.Load()} }

// dialing is how many connections an attack opens at the same time.
const dialing = 16

// keep has n connections at a time. Each does act, and is replaced when act returns, until ctx is done.
func (to Target) keep(ctx context.Context, n int, open dial, act func(ctx context.Context, i int, c net.Conn)) {
	var wg sync.WaitGroup
	turns := make(chan struct{}, dialing)
	for i := range n {
		wg.Go(func() {
			for to.Pace.Wait(ctx, costConnection) == nil {
				turns <- struct{}{}
				bounded, cancel := context.WithTimeout(ctx, writeTimeout)
				c, err := open(bounded)
				cancel()
				<-turns
				if err != nil {
					to.count(func(c *Count) *atomic.Int64 { return &c.refused })
					pause(ctx, 10*time.Millisecond)
					continue
				}
				to.count(func(c *Count) *atomic.Int64 { return &c.connections })
				stop := context.AfterFunc(ctx, func() { c.Close() })
				act(ctx, i, c)
				stop()
				c.Close()
			}
		})
	}
	wg.Wait()
}

func (to Target) count(what func(*Count) *atomic.Int64) {
	if to.Count != nil {
		what(to.Count).Add(1)
	}
}

// send waits for the turn of something with that cost, and counts it.
func (to Target) send(ctx context.Context, cost int) error {
	err := to.Pace.Wait(ctx, cost)
	if err == nil {
		to.count(func(c *Count) *atomic.Int64 { return &c.sent })
	}
	return err
}

func (to Target) http1(ctx context.Context) (net.Conn, error) { return or(to.HTTP1, to.Dial)(ctx) }

func (to Target) http2(ctx context.Context) (net.Conn, error) { return or(to.HTTP2, to.Dial)(ctx) }

func or(f, otherwise dial) dial {
	if f == nil {
		return otherwise
	}
	return f
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
