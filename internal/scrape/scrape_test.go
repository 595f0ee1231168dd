// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package scrape

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// TestHandler: fifty scrapes at the same time cost one rendering, whatever formats they ask for, and a
// later one is rendered again.
func TestHandler(t *testing.T) {
	made, now := 0, time.Unix(1, 0)
	h := New(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		made++ // without a lock: there is one at a time
		w.Header().Set("Content-Type", "text/plain")
		if made > 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprintf(w, "rendering %d for %q of %s", made, r.Header, r.URL)
	}), func() time.Time { return now })
	scrape := func(code int, body string) {
		t.Helper()
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprint("/metrics?name[]=", i), http.NoBody)
				r.Header.Set("Accept", fmt.Sprint("format/", i))
				r.Header.Set("Accept-Encoding", "gzip")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != code || w.Body.String() != body || w.Header().Get("Content-Type") != "text/plain" {
					t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
				}
			})
		}
		wg.Wait()
	}
	scrape(http.StatusOK, `rendering 1 for map[] of /metrics`)
	now = now.Add(Age - 1)
	scrape(http.StatusOK, `rendering 1 for map[] of /metrics`)
	now = now.Add(1)
	scrape(http.StatusInternalServerError, `rendering 2 for map[] of /metrics`)
}
