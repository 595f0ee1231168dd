// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/names"
)

// sources are what the proxy counts, by the client's address.
func (p *proxy) sources(t *testing.T) map[string]int {
	t.Helper()
	prefix := names.StatPlaintext + "." + names.StatPlaintextReceived + "." + names.StatPlaintextSource + "."
	b, err := p.get("/stats?filter=^" + names.StatPlaintext)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for line := range strings.Lines(string(b)) {
		addr, n, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), prefix), ": ")
		if out[addr], err = strconv.Atoi(n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	return out
}

// TestPlaintextIsCounted: what comes without mutual TLS is counted by its client's address when it begins,
// requests and connections that carry bytes, whatever a header says; nothing of the mesh is.
func TestPlaintextIsCounted(t *testing.T) {
	p := newPair(t, false)
	outside, other := p.m.wire.plug(t, "198.18.9.30", false), p.m.wire.plug(t, "198.18.9.31", false)
	forged := func(r *http.Request) { r.Header.Set("X-Forwarded-For", "198.18.9.99") }
	counted := func(what string, want map[string]int) {
		t.Helper()
		eventually(t, 5*time.Second, func() error {
			if got := p.to.sources(t); !maps.Equal(got, want) {
				return fmt.Errorf("%s: %v, want %v", what, got, want)
			}
			return nil
		})
	}

	get(t, client(p.from.netns), "http://198.19.9.1/x", nil)
	greeted(t, p.from.netns, "198.19.9.3:80")
	counted("from the mesh", map[string]int{})

	c := client(outside)
	for range 3 {
		if a := get(t, c, "http://198.18.9.11:8080/x", forged); a.status != 200 {
			t.Fatalf("status %d", a.status)
		}
	}
	counted("requests", map[string]int{"198.18.9.30": 3})
	greeted(t, other, "198.18.9.11:3306")
	counted("a connection", map[string]int{"198.18.9.30": 3, "198.18.9.31": 1})

	// A stream and a connection that do not end are counted.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://198.18.9.11:8080/?takes=1m", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if resp, err := client(other).Do(r); err == nil {
			resp.Body.Close()
		}
	}()
	open, _ := dialFrom(t, outside, "198.18.9.11:3306")
	defer open.Close()
	counted("what has not ended", map[string]int{"198.18.9.30": 4, "198.18.9.31": 2})

	// Addresses that come no more are forgotten.
	eventually(t, 3*evictEvery, func() error {
		if got := p.to.sources(t); len(got) > 0 {
			return fmt.Errorf("still counted: %v", got)
		}
		return nil
	})
	get(t, c, "http://198.18.9.11:8080/x", nil)
	counted("it comes again", map[string]int{"198.18.9.30": 1})
}
