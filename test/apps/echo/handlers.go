// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/websocket"

	"tulle.dev/tulle/test/apps/report"
)

// answer is what most paths send: a report, and what the request looked like on arrival.
type answer struct {
	report.Report
	Method  string              `json:"method"`
	Path    string              `json:"path"`
	Host    string              `json:"host"`
	Headers map[string][]string `json:"headers"`
	Remote  string              `json:"remote"`
	TLS     string              `json:"tls,omitempty"`
	// BodyBytes is the length of the request's body; only /upload reads it.
	BodyBytes int64 `json:"bodyBytes,omitempty"`
}

// handlers serves every HTTP path. Safe for concurrent use.
type handlers struct {
	*http.ServeMux
	self    report.Self
	readyAt time.Time

	mu     sync.Mutex
	counts map[string]int // guarded by mu
}

// newHandlers maps the paths:
//
//	/                      what arrived, as JSON
//	/healthz               503 until ready
//	/status/N              the same as /, with status N
//	/delay/D               the same as /, after D ("250ms")
//	/bytes/N               N bytes
//	/stream?count=&every=  count lines, one each D, flushed
//	/upload                reads the body and says how long it was; honours Expect: 100-continue
//	/trailers              the same as /, with the trailer X-Echo-Trailer
//	/ws                    WebSocket echo
//	/hit/NAME, /hits       counts, and tells the counts (hooks, mirrors)
func newHandlers(self report.Self, readyAt time.Time) *handlers {
	h := &handlers{ServeMux: http.NewServeMux(), self: self, readyAt: readyAt, counts: map[string]int{}}
	h.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { h.answer(w, r, http.StatusOK, 0) })
	h.HandleFunc("/healthz", h.healthz)
	h.HandleFunc("/status/{code}", h.status)
	h.HandleFunc("/delay/{time}", h.delay)
	h.HandleFunc("/bytes/{n}", h.bytes)
	h.HandleFunc("/stream", h.stream)
	h.HandleFunc("/upload", h.upload)
	h.HandleFunc("/trailers", h.trailers)
	h.Handle("/ws", websocket.Server{Handler: func(c *websocket.Conn) { _, _ = io.Copy(c, c) }})
	h.HandleFunc("/hit/{name}", h.hit)
	h.HandleFunc("/hits", h.hits)
	return h
}

func (h *handlers) answer(w http.ResponseWriter, r *http.Request, status int, body int64) {
	a := answer{
		Report: h.self.HTTP(r), Method: r.Method, Path: r.URL.RequestURI(), Host: r.Host,
		Headers: r.Header, Remote: r.RemoteAddr, BodyBytes: body,
	}
	if r.TLS != nil {
		a.TLS = r.TLS.ServerName
		if a.TLS == "" {
			a.TLS = "without server name"
		}
	}
	writeJSON(w, status, a)
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone; there is nobody to tell
}

func (h *handlers) healthz(w http.ResponseWriter, _ *http.Request) {
	if time.Now().Before(h.readyAt) {
		http.Error(w, "not ready yet", http.StatusServiceUnavailable)
	}
}

func (h *handlers) status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.PathValue("code"))
	if err != nil || code < 200 || code > 599 {
		http.Error(w, "status must be 200 to 599", http.StatusBadRequest)
		return
	}
	if code == http.StatusNoContent || code == http.StatusNotModified {
		w.WriteHeader(code)
		return
	}
	h.answer(w, r, code, 0)
}

func (h *handlers) delay(w http.ResponseWriter, r *http.Request) {
	d, err := time.ParseDuration(r.PathValue("time"))
	if err != nil || d < 0 {
		http.Error(w, "delay must be a duration such as 250ms", http.StatusBadRequest)
		return
	}
	select {
	case <-r.Context().Done():
	case <-time.After(d):
		h.answer(w, r, http.StatusOK, 0)
	}
}

func (h *handlers) bytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.PathValue("n"), 10, 64)
	if err != nil || n < 0 || n > 1<<30 {
		http.Error(w, "length must be 0 to 2^30", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	_, _ = io.CopyN(w, letters{}, n)
}

// letters is an endless line.
type letters struct{}

func (letters) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a' + byte(i%26)
	}
	return len(p), nil
}

func (h *handlers) stream(w http.ResponseWriter, r *http.Request) {
	count, err := strconv.Atoi(r.FormValue("count"))
	if err != nil || count < 1 {
		count = 10
	}
	every, err := time.ParseDuration(r.FormValue("every"))
	if err != nil || every < 0 {
		every = 100 * time.Millisecond
	}
	flush := http.NewResponseController(w)
	for i := range count {
		if _, err := fmt.Fprintf(w, "line %d from %s\n", i+1, h.self.Pod); err != nil {
			return
		}
		if err := flush.Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(every):
		}
	}
}

func (h *handlers) upload(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.answer(w, r, http.StatusOK, n)
}

func (h *handlers) trailers(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Trailer", "X-Echo-Trailer")
	h.answer(w, r, http.StatusOK, 0)
	w.Header().Set("X-Echo-Trailer", "after the body")
}

func (h *handlers) hit(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.counts[r.PathValue("name")]++
	h.mu.Unlock()
	h.answer(w, r, http.StatusOK, 0)
}

func (h *handlers) hits(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	counts := maps.Clone(h.counts)
	h.mu.Unlock()
	writeJSON(w, http.StatusOK, counts)
}
