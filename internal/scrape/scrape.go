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
	current *rendering // the last one, perhaps in progress; nil: none that is used again
}

// New returns a Handler. render gets requests without headers and query, so it renders text that is not compressed.
// Their context ends after half a minute, and not with a client's request.
func New(render http.Handler) *Handler {
	return &Handler{render: render}
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, ok := h.Get(r.Context(), r.URL.Path)
	if !ok {
		return
	}
	for k, v := range p.Header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(p.Body)))
	w.WriteHeader(p.Code)
	_, _ = w.Write(p.Body) // the client has gone
}

// Page is what was rendered. It is used again, so it must not be changed.
type Page struct {
	Code   int
	Header http.Header
	Body   []byte
}

// Get returns what ServeHTTP sends to a client that asks for the path now. ok is false if ctx ends first.
func (h *Handler) Get(ctx context.Context, path string) (p *Page, ok bool) {
	r := h.get(path)
	select {
	case <-r.done:
		return &r.Page, true
	case <-ctx.Done():
		return nil, false
	}
}

// get returns the rendering in progress, or one that is used again, or begins one.
func (h *Handler) get(path string) *rendering {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.current == nil {
		h.current = &rendering{Page: Page{Code: http.StatusOK, Header: http.Header{}}, done: make(chan struct{})}
		go h.run(h.current, path)
	}
	return h.current
}

func (h *Handler) run(p *rendering, path string) {
	ctx, cancel := context.WithTimeout(context.Background(), maxRender)
	defer cancel()
	// Without the query, which may select metrics: the page is for everyone.
	r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Header: http.Header{}}
	h.renderInto(p, r.WithContext(ctx))
	p.Body = p.body.Bytes()
	close(p.done)
	time.AfterFunc(Age, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.current = nil
	})
}

// renderInto renders. If that panics, the clients get an error: a metric is no reason to end the process.
func (h *Handler) renderInto(p *rendering, r *http.Request) {
	defer func() {
		if v := recover(); v != nil {
			log.Printf("panic while rendering %s: %v\n%s", r.URL.Path, v, debug.Stack())
			p.Page = Page{Code: http.StatusInternalServerError, Header: http.Header{}}
			p.body.Reset()
		}
	}()
	h.render.ServeHTTP(p, r)
}

// rendering is a page, perhaps in progress.
type rendering struct {
	Page               // complete when done is closed
	done chan struct{} // closed when the page is complete
	body bytes.Buffer
}

func (r *rendering) Header() http.Header         { return r.Page.Header }
func (r *rendering) Write(b []byte) (int, error) { return r.body.Write(b) }
func (r *rendering) WriteHeader(code int)        { r.Code = code }
