// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package scrape

import (
	"bytes"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Age is how long a rendering is used again.
const Age = time.Second

// Handler serves what another handler renders. Safe for concurrent use.
type Handler struct {
	render http.Handler
	now    func() time.Time

	mu   sync.Mutex // guards all below; held while one is rendered
	last *page      // nil: none was rendered
	at   time.Time  // when last was complete
}

// New returns a Handler. render gets requests without headers and query, so it renders text that is not compressed. A
// nil clock means time.Now.
func New(render http.Handler, now func() time.Time) *Handler {
	if now == nil {
		now = time.Now
	}
	return &Handler{render: render, now: now}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p := h.get(r)
	for k, v := range p.header {
		w.Header()[k] = v
	}
	w.WriteHeader(p.code)
	_, _ = w.Write(p.body.Bytes()) // the caller has gone
}

func (h *Handler) get(r *http.Request) *page {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last != nil && h.now().Sub(h.at) < Age {
		return h.last
	}
	p := &page{header: http.Header{}, code: http.StatusOK}
	// Without the query, which may select metrics: the page is for everyone.
	h.render.ServeHTTP(p, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: r.URL.Path}, Header: http.Header{}})
	h.last, h.at = p, h.now()
	return p
}

// page is a response that is kept.
type page struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func (p *page) Header() http.Header         { return p.header }
func (p *page) Write(b []byte) (int, error) { return p.body.Write(b) }
func (p *page) WriteHeader(code int)        { p.code = code }
