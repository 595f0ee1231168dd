// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/controlplane/intake"
	"tulle.dev/tulle/internal/names"
)

// Connections that clients may have before it is known who they are, and how often they come, see docs/adr/0026.
// A TLS handshake takes 0.3 ms of processor time. The API server has a connection for each review under way, some
// hundred at most, from one address. Agents come once when they start, all those of a node from one address if it
// rewrites source addresses.
func webhookConnections() bounded.Connections {
	return bounded.Connections{Total: 512, PerAddress: 256, Age: bounded.MaxAge, Rates: rates(1000, 4000, 1500, 6000)}
}

func signConnections() bounded.Connections {
	return bounded.Connections{Total: 1024, PerAddress: 64, Age: bounded.MaxAge, Rates: rates(20, 200, 500, 1000)}
}

// Operator, other replicas and the command line ask a few times a second.
func internalConnections() bounded.Connections {
	return bounded.Connections{Total: 128, PerAddress: 128, Rates: rates(20, 100, 200, 400)}
}

// The kubelet and Prometheus: whoever opens many connections loses its own, and they are served meanwhile.
func monitorConnections() bounded.Connections {
	return bounded.Connections{Total: 128, PerAddress: 128, Rates: bounded.RequestRates()}
}

// rates are those of one address and of all, each in the long run and at once.
func rates(perSecond, burst, totalPerSecond, totalBurst float64) bounded.Rates {
	return bounded.Rates{Address: bounded.Rate{PerSecond: perSecond, Burst: burst}, Total: bounded.Rate{PerSecond: totalPerSecond, Burst: totalBurst}}
}

// The control plane's ports in the metric of closed connections.
const (
	portSign     = "sign"
	portWebhook  = "webhook"
	portInternal = "internal"
	portMonitor  = "monitor"
)

// newClosed returns the counter of the connections that were closed because of a bound.
func newClosed(in prometheus.Registerer) *prometheus.CounterVec {
	closed := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tulle_closed_connections_total", Help: "Connections that were closed because of a bound, by port and reason. Those to the ADS port are counted apart.",
	}, []string{"port", "reason"})
	for _, port := range []string{portSign, portWebhook, portInternal, portMonitor} {
		for _, reason := range bounded.Reasons() {
			closed.WithLabelValues(port, reason) // a counter that appears with its first event shows no increase
		}
	}
	in.MustRegister(closed)
	return closed
}

// listen listens on a port, which has a name in metrics.
func (r *replica) listen(ctx context.Context, port int, name string, most bounded.Connections) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return nil, fmt.Errorf("listen on port %d: %w", port, err)
	}
	most.Write = bounded.Write
	most.Closed = func(reason string) { r.closed.WithLabelValues(name, reason).Inc() }
	return bounded.Listen(l, most), nil
}

// ads serves the ADS port. Connections are bounded by intake, before and after the handshake.
func (r *replica) ads(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(names.PortADS))
	if err != nil {
		return fmt.Errorf("listen for proxies: %w", err)
	}
	in := intake.New(intake.Options{Request: r.server.MaxRequest, CountedAs: r.feed.countedAs, Group: r.feed.namespaceOf, Metrics: r.metrics})
	return r.server.Serve(ctx, in.Listener(l), grpc.Creds(in.Credentials(credentials.NewTLS(r.authority.ServerTLS()))))
}

func (r *replica) https(ctx context.Context, port int, name string, most bounded.Connections, h http.Handler) error {
	l, err := r.listen(ctx, port, name, most)
	if err != nil {
		return err
	}
	s := bounded.NewServer(h, r.authority.PublicTLS())
	// The API server would keep its connection to a replica that the Service no longer leads to, and pods
	// would be injected by the former release for as long as it does.
	s.SetKeepAlivesEnabled(false)
	stop := context.AfterFunc(ctx, func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		_ = s.Shutdown(end) // what is left after five seconds is cut
	})
	defer stop()
	if err := s.ServeTLS(l, "", ""); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve port %d: %w", port, err)
	}
	return nil
}
