// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"tulle.dev/tulle/internal/bounded"
	"tulle.dev/tulle/internal/dataplane/metrics"
	"tulle.dev/tulle/internal/dataplane/probes"
	"tulle.dev/tulle/internal/protocol"
)

// open opens the agent's ports and offers them to the agent that will come after it.
func (a *agent) open() error {
	l, err := openListeners(a.PeerListeners)
	if err != nil {
		return err
	}
	a.listeners = l
	if a.unoffer, err = offerListeners(a.ListenersSocket, l); err != nil {
		// The next agent then opens the ports itself, a moment after this one has closed them.
		a.log.Warn("Offering the listening sockets failed", "error", err)
	}
	for name, h := range map[string]http.Handler{agentListener: a.agentPort(), readyListener: a.readyPort()} {
		s := bounded.NewServer(bodiless(h), nil)
		s.ReadTimeout, s.WriteTimeout, s.IdleTimeout, s.MaxHeaderBytes = 0, 0, 30*time.Second, maxHeaders // a hold takes long
		go s.Serve(bounded.Listen(l[name], bounded.Connections{                                           //nolint:errcheck // ends when the listener is closed; the requests in it are answered
			Total: maxOpen, PerAddress: maxOpen, Write: bounded.Write, Rates: bounded.RequestRates(),
			Closed: func(string) { a.metrics.Count(closedName, closedHelp) },
		}))
	}
	return nil
}

const closedName, closedHelp = "tulle_agent_closed_connections_total", "Connections to the agent's ports that were closed because of a bound."

// Bounds of each of the two ports, which any client in the network can reach.
const (
	// maxOpen is the number of open connections. The kubelet and Prometheus need a handful.
	maxOpen = 64
	// maxHeaders is the size of a request's headers in bytes: a moved probe carries its original in one.
	maxHeaders = 128 << 10
)

// bodiless refuses requests with a body. None here needs one, and the server would read it for as long as
// the client likes.
func bodiless(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
			http.Error(w, "a request to this port has no body", http.StatusBadRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// closeListeners stops accepting. Requests that are being answered go on.
func (a *agent) closeListeners() {
	if a.unoffer != nil {
		a.unoffer()
	}
	for _, l := range a.listeners {
		l.Close()
	}
}

// readyPort answers on names.PortReady.
func (a *agent) readyPort() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		h := a.health.Load()
		if !h.Serving {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, strings.TrimSuffix(fmt.Sprintf("%s: %s", h.Phase, h.Message), ": "))
	})
	return mux
}

// agentPort answers on names.PortAgent.
func (a *agent) agentPort() http.Handler {
	pod := probes.Pod{IPs: a.PodIPs}
	var app *metrics.App
	if m := a.AppMetrics; m != nil {
		path := m.Path
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		app = &metrics.App{Dial: pod.DialContext, URL: "http://" + pod.Addr("", m.Port) + path}
	}

	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metrics.NewPage(a.metrics, a.measure, a.admin.Prometheus, app))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(a.health.Load()) //nolint:errcheck,errchkjson // the asker has gone
	})
	recorded := probes.NewHandler(a.Probes, pod, a.log)
	mux.HandleFunc("GET "+protocol.ProbePrefix, func(w http.ResponseWriter, r *http.Request) {
		if recorded.Unguessable(r) {
			bounded.Keep(r) // the client has read the pod, so it is no stranger
		}
		recorded.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET "+protocol.HoldPath, a.hold)
	return mux
}

// measure brings the agent's own gauges up to date.
func (a *agent) measure() {
	s := a.relay.Status()
	connected := 0.0
	if s.Connected {
		connected = 1
	}
	a.metrics.Set("tulle_agent_control_plane_connected", "1 while there is a stream to the control plane.", connected)
	a.metrics.Set("tulle_agent_rejected_resources", "Resources whose newest version Envoy refused.", float64(len(s.Rejected)))
	n := 0
	for _, c := range s.Resources {
		n += c
	}
	a.metrics.Set("tulle_agent_resources", "Resources that Envoy should have.", float64(n))
	serving := 0.0
	if a.health.Load().Serving {
		serving = 1
	}
	a.metrics.Set("tulle_agent_serving", "1 while the proxy serves and the pod is not ending.", serving)
}

// Times of a hold. The shortest lets the word get round that the pod is ending even where no request
// comes by which to notice; the pause is how long none must have come.
const (
	holdLeast   = 2 * time.Second
	holdPause   = time.Second
	holdDefault = 10 * time.Second
	holdMost    = 60 * time.Second
)

// hold answers when what the proxy stands before may end, see protocol.HoldPath.
func (a *agent) hold(w http.ResponseWriter, r *http.Request) {
	// Whoever else could ask would be able to end the pod's service.
	if from, err := netip.ParseAddrPort(r.RemoteAddr); err != nil || !from.Addr().Unmap().IsLoopback() {
		http.Error(w, "only from inside the pod", http.StatusForbidden)
		return
	}
	bounded.Keep(r)
	most := holdDefault
	if v := r.URL.Query().Get("max"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || time.Duration(n)*time.Second > holdMost {
			http.Error(w, "max must be 1 to 60 (seconds)", http.StatusBadRequest)
			return
		}
		most = time.Duration(n) * time.Second
	}
	select {
	case a.endings <- struct{}{}:
	default:
	}
	began := time.Now()
	why := a.quiet(r.Context(), began, most)
	io.WriteString(w, why+" after "+time.Since(began).Round(100*time.Millisecond).String()+"\n") //nolint:errcheck // the asker has gone
}

// quiet waits until no new request has come for a while.
func (a *agent) quiet(ctx context.Context, began time.Time, most time.Duration) string {
	clock := time.NewTicker(200 * time.Millisecond)
	defer clock.Stop()
	last, lastBegun := began, uint64(0)
	for time.Since(began) < most {
		if now, err := a.activity(ctx); err != nil {
			return "no word from Envoy"
		} else if now.Begun != lastBegun {
			last, lastBegun = time.Now(), now.Begun
		}
		if time.Since(began) >= holdLeast && time.Since(last) >= holdPause {
			return "quiet"
		}
		select {
		case <-ctx.Done():
			return "given up"
		case <-clock.C:
		}
	}
	return "time is up"
}
