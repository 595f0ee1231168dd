// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package scrape

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// scrape asks from an address, for a format of its own.
func scrape(ctx context.Context, h *Handler, i int) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprint("/metrics?name[]=", i), http.NoBody)
	r.RemoteAddr = fmt.Sprintf("192.0.2.%d:1000", i)
	r.Header.Set("Accept", fmt.Sprint("format/", i))
	r.Header.Set("Accept-Encoding", "gzip")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestHandler: fifty scrapes at the same time cost one rendering, whatever formats they ask for, and a
// later one is rendered again.
func TestHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		h := New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			made++ // without a lock: there is one at a time
			time.Sleep(5 * Age)
			w.Header().Set("Content-Type", "text/plain")
			if made > 1 {
				w.WriteHeader(http.StatusInternalServerError)
			}
			fmt.Fprintf(w, "rendering %d for %q of %s", made, r.Header, r.URL)
		}))
		all := func(code int, body string) {
			t.Helper()
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					w := scrape(t.Context(), h, i)
					if w.Code != code || w.Body.String() != body || w.Header().Get("Content-Type") != "text/plain" {
						t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
					}
				})
			}
			wg.Wait()
		}
		all(http.StatusOK, `rendering 1 for map[] of /metrics`)
		time.Sleep(Age - 1)
		all(http.StatusOK, `rendering 1 for map[] of /metrics`)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if h.current != nil {
			t.Error("a rendering is kept for ever")
		}
		all(http.StatusInternalServerError, `rendering 2 for map[] of /metrics`)
		time.Sleep(Age)
	})
}

// TestRenderingEnds: a rendering gets half a minute, and a client that goes away does not wait for it.
func TestRenderingEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		began := time.Now()
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if w := scrape(gone, h, 1); w.Body.Len() != 0 || time.Since(began) != 0 {
			t.Errorf("a client that has gone waits for %v", time.Since(began))
		}
		if scrape(t.Context(), h, 2); time.Since(began) != maxRender {
			t.Errorf("a rendering takes %v", time.Since(began))
		}
		time.Sleep(Age)
	})
}

// TestPanic: a rendering that panics is an error for its clients, and the next one is tried again.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		h := New(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			made++
			fmt.Fprint(w, "part of a page")
			if made == 1 {
				panic("a collector")
			}
		}))
		for _, want := range []int{http.StatusInternalServerError, http.StatusOK} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
			if w.Code != want || (want == http.StatusOK) != (w.Body.Len() > 0) {
				t.Errorf("%d %q, want %d", w.Code, w.Body, want)
			}
			time.Sleep(Age)
			synctest.Wait()
		}
	})
}
