// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/names"
)

// monitor serves health, metrics and what is connected, over plain HTTP. Nothing there is secret and
// nothing changes anything.
func (r *replica) monitor(ctx context.Context) error {
	r.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(r.metrics, promhttp.HandlerOpts{}))
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
	mux.HandleFunc("GET "+names.PathProxies, r.proxies)
	mux.HandleFunc("GET "+names.PathTrust, r.trustReport)
	mux.HandleFunc("GET "+names.PathTranslation, r.translation)
	mux.Handle("GET "+status.ReportPath, r.feed.ledger)
	s := &http.Server{Addr: ":" + strconv.Itoa(names.PortMonitor), Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = s.Close() }) // nobody waits for an answer here
	defer stop()
	if err := s.ListenAndServe(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve port %d: %w", names.PortMonitor, err)
	}
	return nil
}

func (r *replica) proxies(w http.ResponseWriter, _ *http.Request) {
	out := ProxiesReport{Proxies: []ProxyReport{}}
	for _, s := range r.server.Streams() {
		c, ok := s.Principal.(connected)
		if !ok {
			continue
		}
		p := proxyReport(c, s)
		if wl, ok := r.feed.workload(keyOf(c)); ok {
			p.Version = wl.Version
		}
		if c.Kind == names.KindClient {
			out.Clients = append(out.Clients, p)
			continue
		}
		out.Proxies = append(out.Proxies, p)
	}
	r.feed.addPlaintext(out.Proxies)
	out.Connected, out.CPU = len(out.Proxies), r.usage.cores()
	r.feed.mu.RLock()
	out.Failures = len(r.feed.failures)
	r.feed.mu.RUnlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(out) // the other side is gone: nobody to tell
}
