// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// scrape asks a page from an address.
func scrape(ctx context.Context, p *Page, from string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil)
	r.RemoteAddr = from + ":1000"
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

// TestPageRendersOnce: any number of clients that ask while a rendering is in progress or fresh get the
// same bytes, of one rendering. The next one is of another.
func TestPageRendersOnce(t *testing.T) {
	var renderings, inProgress, most atomic.Int64
	release := make(chan struct{})
	p := NewPage(func(_ context.Context, b *bytes.Buffer) {
		most.Store(max(most.Load(), inProgress.Add(1)))
		defer inProgress.Add(-1)
		fmt.Fprintln(b, "rendering", renderings.Add(1))
		<-release
	})
	var answers sync.Map
	var clients sync.WaitGroup
	for i := range maxClients {
		clients.Go(func() { answers.Store(i, scrape(t.Context(), p, fmt.Sprint("192.0.2.", i)).Body.String()) })
	}
	for { // until all wait
		p.mu.Lock()
		n := p.all
		p.mu.Unlock()
		if n == maxClients {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if w := scrape(t.Context(), p, "192.0.2.99"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("one client more than may wait gets %d", w.Code)
	}
	close(release)
	clients.Wait()
	answers.Range(func(i, got any) bool {
		if got != "rendering 1\n" {
			t.Errorf("client %v gets %q", i, got)
		}
		return true
	})
	if got := scrape(t.Context(), p, "192.0.2.1").Body.String(); got != "rendering 1\n" {
		t.Errorf("a client that asks within a second gets %q", got)
	}
	p.mu.Lock()
	p.current.until = time.Now() // a second later
	p.mu.Unlock()
	if got := scrape(t.Context(), p, "192.0.2.1").Body.String(); got != "rendering 2\n" {
		t.Errorf("a client that asks later gets %q", got)
	}
	if most.Load() != 1 {
		t.Errorf("%d renderings at once", most.Load())
	}
}

// TestPageSharesPlaces: clients of one address do not take all places, and places are given back.
func TestPageSharesPlaces(t *testing.T) {
	release := make(chan struct{})
	p := NewPage(func(context.Context, *bytes.Buffer) { <-release })
	for range 3 { // a client that goes away takes no place
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range maxClients {
			scrape(ctx, p, "192.0.2.1")
		}
	}
	var clients sync.WaitGroup
	var refused atomic.Int64
	for range 2 * maxFromOne {
		clients.Go(func() {
			if scrape(t.Context(), p, "192.0.2.1").Code == http.StatusServiceUnavailable {
				refused.Add(1)
			}
		})
	}
	for refused.Load() < maxFromOne {
		time.Sleep(time.Millisecond)
	}
	clients.Go(func() {
		if w := scrape(t.Context(), p, "192.0.2.2"); w.Code != http.StatusOK {
			t.Errorf("another client gets %d", w.Code)
		}
	})
	for {
		p.mu.Lock()
		n := p.clients["192.0.2.2"]
		p.mu.Unlock()
		if n > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	close(release)
	clients.Wait()
	if p.all != 0 || len(p.clients) != 0 {
		t.Errorf("%d places are taken by nobody: %v", p.all, p.clients)
	}
}

// TestHTTP: what the application serves, from where, and how much.
func TestHTTP(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		io.WriteString(w, "stolen 1\n")
	}))
	defer other.Close()
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics":
			io.WriteString(w, "accept "+r.Header.Get("Accept")+"\n")
		case "/moved":
			http.Redirect(w, r, "/metrics", http.StatusFound)
		case "/away":
			http.Redirect(w, r, other.URL+"/", http.StatusFound)
		case "/other-name":
			http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1), http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/endless":
			for line := strings.Repeat("x", 1<<16) + "\n"; ; {
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
			}
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", 2*maxAppHeaders))
		default:
			w.WriteHeader(http.StatusInternalServerError)
		}
	}))
	defer app.Close()
	for path, want := range map[string]string{
		"/metrics": "accept text/plain;version=0.0.4\n", "/moved": "accept text/plain;version=0.0.4\n",
		"/other": "", "/away": "", "/other-name": "", "/loop": "", "/headers": "",
	} {
		var b strings.Builder
		err := HTTP((&net.Dialer{}).DialContext, app.URL+path)(t.Context(), &b)
		if b.String() != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v; want %q", path, &b, err, want)
		}
	}
	if elsewhere.Load() != 0 {
		t.Error("a redirection to another host was followed")
	}
	var n count
	if err := HTTP((&net.Dialer{}).DialContext, app.URL+"/endless")(t.Context(), &n); err == nil || n > maxApp+1 {
		t.Errorf("of an endless body %d bytes were read: %v", n, err)
	}
}

// count counts what is written.
type count int

func (c *count) Write(p []byte) (int, error) { *c += count(len(p)); return len(p), nil }
