// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Bounds of what clients can make the agent do.
const (
	// Fresh is how old the text of a page may be that a client gets without another rendering.
	Fresh = time.Second
	// maxRender is how long a rendering may take. Envoy's part takes its main thread's time.
	maxRender = 30 * time.Second
	// maxClients are answered at once, and of these maxFromOne of one address: each may read slowly, and the
	// kernel keeps megabytes for it meanwhile.
	maxClients = 8
	maxFromOne = 4
)

// Page serves metrics. It renders them once at a time, and not again while the last rendering is fresh: all
// clients that ask meanwhile get the same bytes. So what a flood of scrapes costs does not depend on
// their number. Safe for concurrent use.
type Page struct {
	render func(ctx context.Context, w *bytes.Buffer)

	mu      sync.Mutex
	current *rendering // the last one, perhaps in progress; nil: none that is fresh
	clients map[string]int
	all     int
}

// rendering is one text.
type rendering struct {
	done  chan struct{}
	text  []byte    // read after done
	until time.Time // fresh until then; read after done
}

// NewPage makes a page of what render writes. Its context ends after half a minute and not with a client's request.
func NewPage(render func(ctx context.Context, w *bytes.Buffer)) *Page {
	return &Page{render: render, clients: map[string]int{}}
}

// ServeHTTP answers a scrape. Clients above the bound are told to ask again.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		from = r.RemoteAddr
	}
	if !p.enter(from) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "too many scrapes at once; ask again in a second", http.StatusServiceUnavailable)
		return
	}
	defer p.leave(from)
	now := p.get()
	select {
	case <-now.done:
	case <-r.Context().Done():
		return
	}
	w.Header().Set("Content-Type", ContentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(now.text)))
	w.Write(now.text) //nolint:errcheck // the scraper has gone
}

func (p *Page) enter(from string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= maxClients || p.clients[from] >= maxFromOne {
		return false
	}
	p.all++
	p.clients[from]++
	return true
}

func (p *Page) leave(from string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all--
	if p.clients[from]--; p.clients[from] == 0 {
		delete(p.clients, from)
	}
}

// get returns the rendering in progress, or one that is fresh, or begins one.
func (p *Page) get() *rendering {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.current; r != nil {
		select {
		case <-r.done:
			if time.Now().Before(r.until) {
				return r
			}
		default:
			return r
		}
	}
	r := &rendering{done: make(chan struct{})}
	p.current = r
	go p.run(r)
	return r
}

func (p *Page) run(r *rendering) {
	ctx, cancel := context.WithTimeout(context.Background(), maxRender)
	defer cancel()
	var b bytes.Buffer
	p.render(ctx, &b)
	r.text, r.until = b.Bytes(), time.Now().Add(Fresh)
	close(r.done)
	// The text may be large, and the next scrape comes much later.
	time.AfterFunc(Fresh, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.current == r {
			p.current = nil
		}
	})
}
