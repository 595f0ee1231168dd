// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/protocol"
)

// Loop owns a Core: everything that happens to it happens on the loop's goroutine, one after the
// other. Its methods may be called from any goroutine while Run runs.
type Loop struct {
	core   *Core
	events chan func(now time.Time)
	done   chan struct{}
	proxy  func(protocol.Proxy)

	// Used by the loop's goroutine only: the streams that were opened last.
	upstream, envoy *outbox
}

// NewLoop makes the relay of the proxy whose own scope has that name. proxy is called on the loop's
// goroutine whenever the control plane says how Envoy is to be run, and must not block.
func NewLoop(scope string, node []byte, proxy func(protocol.Proxy), log *slog.Logger) *Loop {
	l := &Loop{events: make(chan func(time.Time)), done: make(chan struct{}), proxy: proxy}
	l.core = NewCore(scope, node, l, log)
	return l
}

// Run lets the relay work until ctx is done.
func (l *Loop) Run(ctx context.Context) {
	defer close(l.done)
	clock := time.NewTicker(time.Second)
	defer clock.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-l.events:
			f(time.Now())
		case now := <-clock.C:
			l.core.Tick(now)
		}
	}
}

// do has f done by the loop and waits for it; after the end of Run it does nothing.
func (l *Loop) do(f func(now time.Time)) {
	finished := make(chan struct{})
	select {
	case l.events <- func(now time.Time) { f(now); close(finished) }:
		<-finished
	case <-l.done:
	}
}

// SetLocal gives Envoy a resource of the agent's own.
func (l *Loop) SetLocal(typeURL string, r wire.Resource) {
	l.do(func(now time.Time) { l.core.SetLocal(now, typeURL, r) })
}

// Tell tells the control plane something of this type that is no question: node is the encoded Node that
// says it. It is told again on each new stream until there is something newer.
func (l *Loop) Tell(typeURL string, node []byte) {
	l.do(func(now time.Time) { l.core.Tell(now, &wire.Request{TypeURL: typeURL, Node: node}) })
}

// EnvoyReplaced says that another Envoy process will come.
func (l *Loop) EnvoyReplaced() { l.do(func(time.Time) { l.core.EnvoyReplaced() }) }

// Status reads how far the relay is.
func (l *Loop) Status() (s Status) {
	s.Waiting = "the agent is stopping"
	l.do(func(time.Time) { s = l.core.Status() })
	return s
}

// Waiting is Status().Waiting at less cost.
func (l *Loop) Waiting() (w string) {
	w = "the agent is stopping"
	l.do(func(time.Time) { w = l.core.waiting() })
	return w
}

// Idle tells whether the scope is known and names no listener.
func (l *Loop) Idle() (idle bool) {
	l.do(func(time.Time) { idle = l.core.idle() })
	return idle
}

// Upstream, Envoy and Proxy are the Core's Output.

// Upstream queues a message for the control plane.
func (l *Loop) Upstream(r *wire.Request) { l.upstream.put(r.Marshal()) }

// Envoy queues a message for Envoy.
func (l *Loop) Envoy(r *wire.Response) { l.envoy.put(r.Marshal()) }

// Proxy passes on how Envoy is to be run.
func (l *Loop) Proxy(p protocol.Proxy) { l.proxy(p) }

// outbox holds the messages of one stream that wait to be sent. It has no limit of its own: there is
// at most one response per type, and requests are few. A nil outbox drops.
type outbox struct {
	mu     sync.Mutex
	queue  [][]byte
	filled chan struct{} // capacity 1
}

func newOutbox() *outbox { return &outbox{filled: make(chan struct{}, 1)} }

func (o *outbox) put(m []byte) {
	if o == nil {
		return
	}
	o.mu.Lock()
	o.queue = append(o.queue, m)
	o.mu.Unlock()
	select {
	case o.filled <- struct{}{}:
	default:
	}
}

// send passes messages to f until f fails or ctx is done.
func (o *outbox) send(ctx context.Context, f func([]byte) error) error {
	for {
		o.mu.Lock()
		queue := o.queue
		o.queue = nil
		o.mu.Unlock()
		for _, m := range queue {
			if err := f(m); err != nil {
				return err
			}
		}
		select {
		case <-o.filled:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
