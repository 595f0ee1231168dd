// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package scrape

import (
	"bytes"
	"context"
	"log"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"sync"
	"time"
)

const (
	// Age is how long a rendering is used again.
	Age = time.Second
	// maxRender is how long a rendering may take.
	maxRender = 30 * time.Second
)

// Handler serves what another handler renders. Safe for concurrent use.
type Handler struct {
	render http.Handler

	mu      sync.Mutex // guards current
	current *page      // the last one, perhaps in progress; nil: none that is used again
}

// New returns a Handler. render gets requests without headers and query, so it renders text that is not compressed.
// Their context ends after half a minute, and not with a client's request.
func New(render http.Handler) *Handler {
	return &Handler{render: render}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := h.get(r.URL.Path)
	select {
	case <-p.done:
	case <-r.Context().Done():
		return
	}
	for k, v := range p.header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(p.body.Len()))
	w.WriteHeader(p.code)
	_, _ = w.Write(p.body.Bytes()) // the client has gone
}

// get returns the rendering in progress, or one that is used again, or begins one.
func (h *Handler) get(path string) *page {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil {
		h.current = &page{header: http.Header{}, code: http.StatusOK, done: make(chan struct{})}
		go h.run(h.current, path)
	}
	return h.current
}

func (h *Handler) run(p *page, path string) {
	ctx, cancel := context.WithTimeout(context.Background(), maxRender)
	defer cancel()
	// Without the query, which may select metrics: the page is for everyone.
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Header: http.Header{}}
	h.renderInto(p, r.WithContext(ctx))
	close(p.done)
	time.AfterFunc(Age, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.current = nil
	})
}

// renderInto renders. If that panics, the clients get an error: a metric is no reason to end the process.
func (h *Handler) renderInto(p *page, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			log.Printf("panic while rendering %s: %v\n%s", r.URL.Path, v, debug.Stack())
			p.header, p.code = http.Header{}, http.StatusInternalServerError
			p.body.Reset()
		}
	}()
	h.render.ServeHTTP(p, r)
}

// page is a response that is kept.
type page struct {
	done   chan struct{} // closed when the rest is complete
	header http.Header
	code   int
	body   bytes.Buffer
}

func (p *page) Header() http.Header         { return p.header }
func (p *page) Write(b []byte) (int, error) { return p.body.Write(b) }
func (p *page) WriteHeader(code int)        { p.code = code }
