// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/scrape"
)

// monitor serves health and metrics over plain HTTP to anyone in the network. All else is on the internal
// port. In a build that stands for release 0.1 it also serves what that release has there.
func (r *replica) monitor(ctx context.Context) error {
	r.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	write := monitorWrite
	if debugOnMonitor {
		write = internalWrite
	}
	return serve(ctx, names.PortMonitor, &http.Server{
		Handler: r.monitorPaths(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: write,
		IdleTimeout: time.Minute, MaxHeaderBytes: 8 << 10, ErrorLog: quiet(),
	}, (*http.Server).Serve)
}

func (r *replica) monitorPaths() *http.ServeMux {
	mux := http.NewServeMux()
	mux.Handle("GET "+names.PathMetrics, scrape.New(promhttp.HandlerFor(r.metrics, promhttp.HandlerOpts{}), nil))
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
	if debugOnMonitor {
		r.debugPaths(mux, func(_ string, h http.Handler) http.Handler { return h })
	}
	return mux
}

// monitorConnections are those of each port for monitoring and for internal requests. Whoever opens many loses
// its own, and the kubelet's probe and a scrape are served meanwhile.
func monitorConnections() bounded.Connections {
	return bounded.Connections{Total: 128, PerAddress: 128}
}

// serve listens on a port, with as many connections as fit, until the context ends.
func serve(ctx context.Context, port int, s *http.Server, run func(*http.Server, net.Listener) error) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", ":"+strconv.Itoa(port))
	if err != nil {
		return fmt.Errorf("listen on port %d: %w", port, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // callers ask another replica, or again
	defer stop()
	if err := run(s, bounded.Listen(l, monitorConnections())); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve port %d: %w", port, err)
	}
	return nil
}

// quiet drops what net/http logs: a line for each connection that a stranger breaks off.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }
