// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package intake

import (
	"net"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of connections.
const (
	// handshakes may be under way at a time, handshakesEach of them from one address.
	handshakes     = 512
	handshakesEach = 32
	// connections are what one address may have after the handshake: what a program with gRPC's own client
	// needs (one for each target), and some whose end has not been noticed yet. One more closes the oldest.
	connections = 40
	// The account of an address holds accountSize of time, and a handshake costs handshakeTime.
	accountSize   = 10 * time.Second
	handshakeTime = 50 * time.Millisecond
)

// Options of an Intake.
type Options struct {
	// Request returns how many bytes a request may have. Required.
	Request func() int
	// Metrics, if set, is where tulle_ads_closed_connections_total is registered.
	Metrics prometheus.Registerer
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// Bounds; 0 means the constants of this package. Patience is how long a connection waits for a pass,
	// and Pass how long it may keep it.
	handshakes, passes int
	patience, pass     time.Duration
}

// Intake bounds the connections of one port. Safe for concurrent use.
type Intake struct {
	opts   Options
	closed *prometheus.CounterVec
	large  chan struct{} // a place for each pass

	mu        sync.Mutex // guards the rest; a leaf
	hosts     map[string]*host
	strangers int
	accepts   int
}

// host is an address that connections come from.
type host struct {
	strangers, peers []*accepted // oldest first
	paid, passPaid   time.Time   // until when its time for handshakes, and for passes, is used
}

// New returns an Intake.
func New(opts Options) *Intake {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	for v, d := range map[*int]int{&opts.handshakes: handshakes, &opts.passes: passes} {
		if *v == 0 {
			*v = d
		}
	}
	for v, d := range map[*time.Duration]time.Duration{&opts.patience: patience, &opts.pass: passTime} {
		if *v == 0 {
			*v = d
		}
	}
	in := &Intake{
		opts: opts, hosts: map[string]*host{}, large: make(chan struct{}, opts.passes),
		closed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tulle_ads_closed_connections_total", Help: "Connections to the ADS port that were closed because of a bound, by reason.",
		}, []string{"reason"}),
	}
	for _, reason := range []string{reasonHandshakes, reasonConnections, reasonBytes, reasonSlow} {
		in.closed.WithLabelValues(reason) // a counter that appears with its first event shows no increase
	}
	if opts.Metrics != nil {
		opts.Metrics.MustRegister(in.closed)
	}
	return in
}

// Reasons why a connection is closed.
const (
	reasonHandshakes  = "handshakes"  // too many at a time, or too often
	reasonConnections = "connections" // too many of one address
	reasonBytes       = "bytes"       // too many of requests that are not complete
	reasonSlow        = "slow"        // a large request was not complete in time, or had to wait for too long
)

// Listener returns a listener whose connections are bounded.
func (in *Intake) Listener(l net.Listener) net.Listener { return listener{l, in} }

type listener struct {
	net.Listener
	in *Intake
}

// Accept returns the next connection that is within the bounds; others it closes.
func (l listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err //nolint:wrapcheck // what gRPC looks at
		}
		a := &accepted{Conn: c, in: l.in, host: hostOf(c.RemoteAddr())}
		if l.in.admit(a) {
			limitUnacknowledged(c)
			return a, nil
		}
		l.in.closed.WithLabelValues(reasonHandshakes).Inc()
		_ = c.Close() // not one of ours
	}
}

// accepted is a connection below TLS.
type accepted struct {
	net.Conn
	in   *Intake
	host string
	once sync.Once
}

// Close closes the connection and forgets it.
func (a *accepted) Close() error {
	a.once.Do(func() { a.in.forget(a) })
	return a.Conn.Close() //nolint:wrapcheck // passed on
}

// admit takes a new connection, or returns false.
func (in *Intake) admit(a *accepted) bool {
	now := in.opts.Now()
	in.mu.Lock()
	if in.accepts++; in.accepts%1024 == 0 {
		for k, h := range in.hosts {
			in.drop(k, h, now)
		}
	}
	h := in.host(a.host)
	if len(h.strangers) >= handshakesEach || !spend(&h.paid, handshakeTime, accountSize, now) {
		in.mu.Unlock()
		return false
	}
	h.strangers = append(h.strangers, a)
	in.strangers++
	var victim *accepted
	if in.strangers > in.opts.handshakes {
		victim = in.oldest()
	}
	in.mu.Unlock()
	if victim != nil {
		in.closed.WithLabelValues(reasonHandshakes).Inc()
		_ = victim.Close() // it makes room for others
	}
	return true
}

// oldest is the oldest stranger of the address that has the most of them. Whoever sends few is not hit.
func (in *Intake) oldest() *accepted {
	var most *host
	for _, h := range in.hosts {
		if most == nil || len(h.strangers) > len(most.strangers) {
			most = h
		}
	}
	return most.strangers[0]
}

// promote makes a stranger a peer: its certificate was verified.
func (in *Intake) promote(a *accepted) {
	in.mu.Lock()
	h := in.host(a.host)
	i := slices.Index(h.strangers, a)
	if i < 0 { // closed meanwhile
		in.mu.Unlock()
		return
	}
	h.strangers = slices.Delete(h.strangers, i, i+1)
	in.strangers--
	h.peers = append(h.peers, a)
	var victim *accepted
	if len(h.peers) > connections {
		victim = h.peers[0]
	}
	in.mu.Unlock()
	if victim != nil {
		in.closed.WithLabelValues(reasonConnections).Inc()
		_ = victim.Close() // the newest counts: the others may be dead
	}
}

func (in *Intake) forget(a *accepted) {
	in.mu.Lock()
	defer in.mu.Unlock()
	h := in.host(a.host)
	if i := slices.Index(h.strangers, a); i >= 0 {
		h.strangers = slices.Delete(h.strangers, i, i+1)
		in.strangers--
	}
	if i := slices.Index(h.peers, a); i >= 0 {
		h.peers = slices.Delete(h.peers, i, i+1)
	}
	in.drop(a.host, h, in.opts.Now())
}

func (in *Intake) host(name string) *host {
	h := in.hosts[name]
	if h == nil {
		h = &host{}
		in.hosts[name] = h
	}
	return h
}

// drop forgets an address of which nothing is to be remembered.
func (in *Intake) drop(name string, h *host, now time.Time) {
	if len(h.strangers)+len(h.peers) == 0 && !h.paid.After(now.Add(-accountSize)) && !h.passPaid.After(now.Add(-passAccount)) {
		delete(in.hosts, name)
	}
}

// spend takes time from an account of that size, or returns false if there is not enough in it.
func spend(paid *time.Time, cost, size time.Duration, now time.Time) bool {
	if earliest := now.Add(-size); paid.Before(earliest) {
		*paid = earliest
	}
	next := paid.Add(cost)
	if next.After(now) {
		return false
	}
	*paid = next
	return true
}

// hostOf is an address without its port.
func hostOf(a net.Addr) string {
	if h, _, err := net.SplitHostPort(a.String()); err == nil {
		return h
	}
	return a.String()
}
