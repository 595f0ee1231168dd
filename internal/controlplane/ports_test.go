// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tulle.dev/tulle/internal/bounded"
)

// TestRatesBoundPorts: each port bounds how often strangers come, and lets through what is needed of it: all agents of
// a node behind one address and those of a mesh that starts, an API server that creates pods at full speed, and an
// operator, the command line and other replicas that ask for some seconds.
func TestRatesBoundPorts(t *testing.T) {
	for name, c := range map[string]struct {
		most            bounded.Connections
		addresses, each int           // that come
		every           time.Duration // between them
		cost            float64       // that all may come to, in handshakes a second
	}{
		"sign, a node behind one address": {signConnections(), 1, 200, 0, 500},
		"sign, a mesh that starts":        {signConnections(), 5000, 1, 2 * time.Millisecond, 500},
		"webhook, all at once":            {webhookConnections(), 1, 4000, 0, 1500},
		"webhook, pods without a pause":   {webhookConnections(), 1, 4000, time.Millisecond, 1500},
		"internal":                        {internalConnections(), 10, 20, 5 * time.Millisecond, 200},
		"monitor":                         {monitorConnections(), 5, 100, 2 * time.Millisecond, 1500},
	} {
		t.Run(name, func(t *testing.T) {
			m, now, refused := bounded.NewMeter(c.most.Rates), time.Unix(1000, 0), 0
			for i := range c.addresses * c.each {
				now = now.Add(c.every)
				if a := i % c.addresses; !m.Take(netip.AddrFrom4([4]byte{10, 0, byte(a >> 8), byte(a)}), now) {
					refused++
				}
			}
			if refused > 0 {
				t.Errorf("%d of %d are refused", refused, c.addresses*c.each)
			}
			if total := c.most.Rates.Total; total.PerSecond > c.cost || total.Burst > 4*c.cost {
				t.Errorf("all strangers together may come %v times a second, %v at once", total.PerSecond, total.Burst)
			}
		})
	}
}

// TestClosedConnectionsAreCounted: what a port closes because of a bound shows, and is 0 before.
func TestClosedConnectionsAreCounted(t *testing.T) {
	r := &replica{metrics: prometheus.NewRegistry()}
	r.closed = newClosed(r.metrics)
	if n := testutil.CollectAndCount(r.closed); n != 4*len(bounded.Reasons()) {
		t.Errorf("%d series before the first event", n)
	}
	none := bounded.Rates{Address: bounded.Rate{PerSecond: 1, Burst: 0.5}, Total: bounded.Rate{PerSecond: 1, Burst: 1}}
	l, err := r.listen(t.Context(), 0, portSign, bounded.Connections{Total: 1, PerAddress: 1, Rates: none})
	if err != nil {
		t.Fatal(err)
	}
	s := bounded.NewServer(http.NotFoundHandler(), nil)
	go func() { _ = s.Serve(l) }()
	defer s.Close()
	if _, err := http.Get("http://" + l.Addr().String()); err == nil {
		t.Error("a connection above the rate is served")
	}
	if n := testutil.ToFloat64(r.closed.WithLabelValues(portSign, bounded.ReasonRate)); n < 1 {
		t.Errorf("%v are counted", n)
	}
}
