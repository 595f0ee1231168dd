// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/scrape"
)

// monitor serves health and metrics over plain HTTP to anyone in the network. All else is on the internal
// port.
func (r *replica) monitor(ctx context.Context) error {
	r.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	s := bounded.NewServer(r.monitorPaths(), nil)
	s.ReadTimeout, s.WriteTimeout, s.IdleTimeout, s.MaxHeaderBytes = 5*time.Second, monitorWrite, time.Minute, 8<<10
	return r.serve(ctx, names.PortMonitor, portMonitor, monitorConnections(), s)
}

func (r *replica) monitorPaths() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET "+names.PathMetrics, scrape.New(promhttp.HandlerFor(r.metrics, promhttp.HandlerOpts{})))
	mux.HandleFunc("GET "+names.PathLive, func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET "+names.PathReady, func(w http.ResponseWriter, _ *http.Request) {
		if !r.feed.isSynced() {
			http.Error(w, "waiting for the first sync with the API server", http.StatusServiceUnavailable)
			return
		}
		if err := r.authority.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	return mux
}

// serve serves a port, over TLS if the server has a configuration of it, until the context ends.
func (r *replica) serve(ctx context.Context, port int, name string, most bounded.Connections, s *http.Server) error {
	l, err := r.listen(ctx, port, name, most)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // callers ask another replica, or again
	defer stop()
	run := s.Serve
	if s.TLSConfig != nil {
		run = func(l net.Listener) error { return s.ServeTLS(l, "", "") }
	}
	if err := run(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve port %d: %w", port, err)
	}
	return nil
}
