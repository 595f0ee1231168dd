// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/scrape"
)

// serve has a manager serve plain HTTP to any client, also while it does not lead. It does nothing for the address "0".
func serve(ctx context.Context, mgr manager.Manager, name, addr string, handler http.Handler) error {
	if addr == "0" || addr == "" {
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen for %s on %s: %w", name, addr, err)
	}
	end := 5 * time.Second // what is left then is cut
	return mgr.Add(&manager.Server{
		Name: name, Server: bounded.NewServer(handler, nil),
		Listener:        bounded.Listen(l, bounded.Connections{Total: 128, PerAddress: 32, Write: bounded.Write, Rates: bounded.RequestRates()}),
		ShutdownTimeout: &end,
	})
}

// metricsHandler serves what is registered. It needs no credentials: what is counted names no workload, and
// Prometheus works as it is installed.
func metricsHandler(of prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", scrape.New(promhttp.HandlerFor(of, promhttp.HandlerOpts{ErrorHandling: promhttp.HTTPErrorOnError})))
	return mux
}

// healthHandler answers the kubelet: the process runs.
func healthHandler() http.Handler {
	mux := http.NewServeMux()
	for _, path := range []string{"/healthz", "/readyz"} {
		h := http.StripPrefix(path, &healthz.Handler{Checks: map[string]healthz.Checker{"ping": healthz.Ping}})
		mux.Handle(path, h)
		mux.Handle(path+"/", h)
	}
	return mux
}
