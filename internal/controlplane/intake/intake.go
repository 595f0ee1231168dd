// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package intake

import (
	"crypto/tls"
	"net"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"tulle.dev/tulle/internal/bounded"
)

// Bounds of connections.
const (
	// handshakes may be under way at a time, handshakesEach of them from one address.
	handshakes     = 512
	handshakesEach = 32
	// connections are what one address may have after the handshake: what a program with gRPC's own client
	// needs (one for each target), and some whose end has not been noticed yet. One more closes the oldest.
	connections = 40
	// allConnections are no bound: a mesh has as many proxies as it has.
	allConnections = 1 << 30
)

// rates bound how often connections come. A handshake takes half a millisecond of processor time.
func rates() bounded.Rates {
	return bounded.Rates{Address: bounded.Rate{PerSecond: 20, Burst: 200}, Total: bounded.Rate{PerSecond: 1000, Burst: 2000}}
}

// Options of an Intake.
type Options struct {
	// Request returns how many bytes a request may have. Required.
	Request func() int
	// CountedAs returns the address for which the connections of a client are counted once its handshake is over,
	// and its time for passes. If nil, or if it returns an invalid address, that is where they come from.
	CountedAs func(tls.ConnectionState) netip.Addr
	// Group returns what a client's passes count for besides its address, such as its namespace. If nil, or if it
	// returns "", the address counts alone.
	Group func(tls.ConnectionState) string
	// Metrics, if set, is where tulle_ads_closed_connections_total is registered.
	Metrics prometheus.Registerer

	// Bounds; 0 means the constants of this package. Patience is how long a connection waits for a pass,
	// and Pass how long it may keep it.
	handshakes, passes int
	patience, pass     time.Duration
}

// Intake bounds the connections of one port. Safe for concurrent use.
type Intake struct {
	opts   Options
	closed *prometheus.CounterVec
	peers  *bounded.Pool // connections whose handshake is over
	large  *bounded.Turns
}

// New returns an Intake.
func New(opts Options) *Intake {
	if opts.CountedAs == nil {
		opts.CountedAs = func(tls.ConnectionState) netip.Addr { return netip.Addr{} }
	}
	if opts.Group == nil {
		opts.Group = func(tls.ConnectionState) string { return "" }
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
		opts: opts, peers: bounded.NewPool(allConnections, connections),
		large: bounded.NewTurns(bounded.TurnOptions{Places: opts.passes, Each: 1, Longest: opts.pass, Part: passPart, Ahead: passAhead}),
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

// Listener returns a listener whose connections are bounded: they are strangers' until their handshake is over.
func (in *Intake) Listener(l net.Listener) net.Listener {
	return bounded.Listen(l, bounded.Connections{Total: in.opts.handshakes, PerAddress: handshakesEach, Rates: rates(), Closed: func(string) {
		in.closed.WithLabelValues(reasonHandshakes).Inc()
	}})
}
