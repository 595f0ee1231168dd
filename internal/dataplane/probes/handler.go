// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package probes

import (
	"bytes"
	"context"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// Handler answers the recorded probes, and 404 for everything else. Safe for concurrent use.
type Handler struct {
	recorded []*recorded
	pod      Pod
	log      *slog.Logger
}

// recorded is one probe or hook that injection recorded.
type recorded struct {
	path    []byte
	probe   protocol.Probe
	hook    bool
	timeout time.Duration
	flight  flight
}

// NewHandler makes the handler of a pod's recorded probes. Hooks that fail are logged to log.
func NewHandler(probes protocol.Probes, pod Pod, log *slog.Logger) *Handler {
	h := &Handler{pod: pod, log: log}
	for _, path := range slices.Sorted(maps.Keys(probes)) {
		p := probes[path]
		h.recorded = append(h.recorded, &recorded{
			path: []byte(path), probe: p, hook: protocol.IsHook(path), timeout: time.Duration(max(1, p.TimeoutSeconds)) * time.Second,
		})
	}
	return h
}

const (
	// maxRead is how much of the body of an application's answer is read, in bytes, as the kubelet does. An
	// application whose answer is not read to its end may report a broken connection.
	maxRead = 10 << 10
	// maxAnswer is how much of it is passed on, in bytes: the kubelet puts no more into an event.
	maxAnswer = 1 << 10
)

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
	v := p.flight.do(r.Context(), p.timeout, func(ctx context.Context) verdict { return h.probe(ctx, p, agent) })
	if p.hook {
		h.answerHook(w, r, p, v)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if v.broken {
		// The kubelet must get a body that breaks off, too. It then keeps the result of the probe before.
		w.Header().Set("Content-Length", strconv.Itoa(len(v.text)+1))
		w.WriteHeader(v.status)
		io.WriteString(w, v.text)                 //nolint:errcheck // the connection is closed next
		_ = http.NewResponseController(w).Flush() // or there would be no answer at all, which is a failure
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(v.status)
	fmt.Fprintln(w, v.text)
}

// answerHook answers the kubelet's request for a hook. To the kubelet a hook has failed if it got no HTTP answer,
// and has succeeded with any status. So a request that the application did not answer is not answered either: its
// connection is closed.
func (h *Handler) answerHook(w http.ResponseWriter, r *http.Request, p *recorded, v verdict) {
	if v.lost != nil {
		if r.Context().Err() == nil && protocol.ProbeToken(string(p.path)) != "" {
			kind := string(p.path[bytes.LastIndexByte(p.path, '/')+1:])
			h.log.Warn("The application did not answer a lifecycle hook", "hook", kind, "error", v.lost)
		}
		panic(http.ErrAbortHandler)
	}
	// A client that finds a connection closed that it has used before may send the request again.
	w.Header().Set("Connection", "close")
	// The kubelet reads nothing of it, so nobody needs to learn what the application answered.
	w.WriteHeader(v.status)
}

// verdict is what the kubelet gets to know.
type verdict struct {
	status int
	text   string
	// lost is why there was no answer; nil if there was one.
	lost error
	// broken is set if the answer's body ended with an error.
	broken bool
}

// failed is the verdict on an application that gave no answer.
func failed(err error) verdict {
	return verdict{status: http.StatusServiceUnavailable, text: err.Error(), lost: err}
}

func (h *Handler) probe(ctx context.Context, r *recorded, agent string) verdict {
	p := r.probe
	switch {
	case p.HTTP != nil && r.hook:
		return h.httpHook(ctx, p.HTTP, agent)
	case p.HTTP != nil:
		return h.http(ctx, p.HTTP, agent)
	case p.GRPC != nil:
		return h.grpc(ctx, p.GRPC, agent)
	case p.TCP != nil:
		return h.tcp(ctx, p.TCP)
	}
	return verdict{status: http.StatusNotImplemented, text: "this release does not know the kind of probe that was recorded"}
}

func (h *Handler) tcp(ctx context.Context, p *protocol.TCPProbe) verdict {
	c, err := h.pod.DialContext(ctx, "tcp", h.pod.Addr(p.Host, p.Port))
	if err != nil {
		return failed(err)
	}
	c.Close()
	return verdict{status: http.StatusOK, text: "connected"}
}
