// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package probes

import (
	"context"
	"crypto/subtle"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// Handler answers the recorded probes, and 404 for everything else. Safe for concurrent use.
type Handler struct {
	recorded []*recorded
	pod      Pod
}

// recorded is one probe or hook that injection recorded.
type recorded struct {
	path    []byte
	probe   protocol.Probe
	hook    bool
	timeout time.Duration
	flight  flight
}

// NewHandler makes the handler of a pod's recorded probes.
func NewHandler(probes protocol.Probes, pod Pod) *Handler {
	h := &Handler{pod: pod}
	for _, path := range slices.Sorted(maps.Keys(probes)) {
		p := probes[path]
		h.recorded = append(h.recorded, &recorded{
			path: []byte(path), probe: p, hook: protocol.IsHook(path), timeout: time.Duration(max(1, p.TimeoutSeconds)) * time.Second,
		})
	}
	return h
}

// maxAnswer is how much of an application's answer is passed on, in bytes: it ends in an event.
const maxAnswer = 1 << 10

// find returns what was recorded for a path; nil if nothing was. How long it takes says nothing about how
// much of a path is right: the path is what keeps strangers out.
func (h *Handler) find(path string) *recorded {
	asked := []byte(path)
	var found *recorded
	for _, r := range h.recorded {
		if subtle.ConstantTimeCompare(asked, r.path) == 1 {
			found = r
		}
	}
	return found
}

// Unguessable reports whether a request is for a recorded probe or hook whose path has a token.
func (h *Handler) Unguessable(r *http.Request) bool {
	p := h.find(r.URL.Path)
	return p != nil && protocol.ProbeToken(string(p.path)) != ""
}

// ServeHTTP asks the application and passes its verdict on. A probe or hook runs once at a time, so the
// application gets at most one request of each kind, however many clients ask.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := h.find(r.URL.Path)
	if p == nil {
		http.NotFound(w, r)
		return
	}
	agent := r.UserAgent()
	v := p.flight.do(r.Context(), p.timeout, func(ctx context.Context) verdict { return h.probe(ctx, p.probe, agent) })
	if p.hook {
		// The kubelet reads nothing of it, so nobody needs to learn what the application answered.
		w.WriteHeader(v.status)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(v.status)
	fmt.Fprintln(w, v.text)
}

// verdict is what the kubelet is told.
type verdict struct {
	status int
	text   string
}

// failed is the verdict on an application that gave no answer.
func failed(err error) verdict { return verdict{http.StatusServiceUnavailable, err.Error()} }

func (h *Handler) probe(ctx context.Context, p protocol.Probe, agent string) verdict {
	switch {
	case p.HTTP != nil:
		return h.http(ctx, p.HTTP, agent)
	case p.GRPC != nil:
		return h.grpc(ctx, p.GRPC, agent)
	case p.TCP != nil:
		return h.tcp(ctx, p.TCP)
	}
	return verdict{http.StatusNotImplemented, "this release does not know the kind of probe that was recorded"}
}

func (h *Handler) tcp(ctx context.Context, p *protocol.TCPProbe) verdict {
	c, err := h.pod.DialContext(ctx, "tcp", h.pod.Addr(p.Host, p.Port))
	if err != nil {
		return failed(err)
	}
	c.Close()
	return verdict{http.StatusOK, "connected"}
}
