// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package probes

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// Handler answers the recorded probes, and 404 for everything else. Safe for concurrent use.
type Handler struct {
	probes protocol.Probes
	pod    Pod
}

// NewHandler makes the handler of a pod's recorded probes.
func NewHandler(probes protocol.Probes, pod Pod) *Handler {
	return &Handler{probes: probes, pod: pod}
}

// maxAnswer is how much of an application's answer is passed on, in bytes: it ends in an event.
const maxAnswer = 1 << 10

// ServeHTTP asks the application and passes its verdict on.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, ok := h.probes[r.URL.Path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	timeout := time.Duration(p.TimeoutSeconds) * time.Second
	if timeout <= 0 {
		timeout = time.Second
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	v := h.probe(ctx, p, r.UserAgent())
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
