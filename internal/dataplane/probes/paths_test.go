// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package probes

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// TestOnlyRecordedPaths: what was recorded is answered, of this release and of earlier ones, and nothing else:
// with a token, not the path without it.
func TestOnlyRecordedPaths(t *testing.T) {
	h := NewHandler(protocol.Probes{protocol.ProbePath(token, "app", "liveness"): {}, "/probe/old/liveness": {}}, Pod{}, slog.New(slog.DiscardHandler))
	for path, want := range map[string]int{
		protocol.ProbePath(token, "app", "liveness"):          http.StatusNotImplemented,
		protocol.GuessablePath("old", "liveness"):             http.StatusNotImplemented,
		protocol.GuessablePath("app", "liveness"):             404,
		protocol.ProbePath(token, "app", "readiness"):         404,
		protocol.ProbePath(token[1:], "app", "liveness"):      404,
		"/probe/" + strings.Repeat("0", 32) + "/app/liveness": 404,
		"/probe//app/liveness":                                404,
		"/probe/*/app/liveness":                               404,
		"/probe/":                                             404, "/": 404,
	} {
		r := &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
		if unguessable := h.Unguessable(r); unguessable != strings.HasPrefix(path, "/probe/"+token+"/app/liveness") {
			t.Errorf("%s: unguessable: %v", path, unguessable)
		}
	}
}

// counted serves an application that counts requests by path and answers when released.
func counted(t *testing.T) (port uint16, hits func(path string) int64, release chan struct{}) {
	t.Helper()
	var mu sync.Mutex
	n := map[string]int64{}
	release = make(chan struct{})
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n[r.URL.Path]++
		mu.Unlock()
		select {
		case <-release:
		case <-r.Context().Done():
		}
		w.Write([]byte("secret of the application"))
	}))
	t.Cleanup(app.Close)
	u, _ := url.Parse(app.URL)
	return portOf(t, u.Host), func(path string) int64 { mu.Lock(); defer mu.Unlock(); return n[path] }, release
}

var loopback = Pod{IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}

// TestHookSaysNothing: what the application answers to a hook goes to nobody; what it answers to a probe goes to
// the kubelet's event.
func TestHookSaysNothing(t *testing.T) {
	port, _, release := counted(t)
	close(release)
	get := protocol.Probe{HTTP: &protocol.HTTPProbe{Port: port, Path: "/"}, TimeoutSeconds: 10}
	for _, kind := range []string{"preStop", "postStart", "readiness"} {
		for _, path := range []string{protocol.ProbePath(token, "app", kind), protocol.GuessablePath("app", kind)} {
			w := httptest.NewRecorder()
			NewHandler(protocol.Probes{path: get}, loopback, slog.New(slog.DiscardHandler)).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			if said := strings.Contains(w.Body.String(), "secret"); w.Code != http.StatusOK || said != (kind == "readiness") {
				t.Errorf("%s: %d %q", path, w.Code, w.Body)
			}
		}
	}
}

// TestOneAtATime: a hundred clients that ask at once are one request of each probe to the application, and all
// get its verdict. When one of them goes away, the others still do.
func TestOneAtATime(t *testing.T) {
	port, hits, release := counted(t)
	probes := protocol.Probes{}
	for _, kind := range []string{"liveness", "preStop"} {
		probes[protocol.ProbePath(token, "app", kind)] = protocol.Probe{HTTP: &protocol.HTTPProbe{Port: port, Path: "/" + kind}, TimeoutSeconds: 60}
	}
	h := NewHandler(probes, loopback, slog.New(slog.DiscardHandler))
	for path := range probes {
		kind := path[strings.LastIndex(path, "/"):]
		var clients sync.WaitGroup
		var good atomic.Int64
		leaving, leave := context.WithCancel(t.Context())
		clients.Go(func() {
			defer func() { _ = recover() }() // the connection of a hook is closed
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(leaving, http.MethodGet, path, nil))
		})
		for hits(kind) == 0 {
			time.Sleep(time.Millisecond)
		}
		for range 100 {
			clients.Go(func() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
				if w.Code == http.StatusOK {
					good.Add(1)
				}
			})
		}
		f := &h.find(path).flight
		waiting := func() int { f.mu.Lock(); defer f.mu.Unlock(); return f.running.askers }
		for waiting() < 101 {
			time.Sleep(time.Millisecond)
		}
		leave()
		for waiting() > 100 {
			time.Sleep(time.Millisecond)
		}
		if n := hits(kind); n != 1 {
			t.Errorf("%s: the application got %d requests at once", kind, n)
		}
		release <- struct{}{}
		clients.Wait()
		if good.Load() != 100 {
			t.Errorf("%s: %d of 100 clients got the verdict", kind, good.Load())
		}
	}
}

// TestCancelledRunIsNobodysVerdict: a client that goes away ends its run, and the next one's is another.
func TestCancelledRunIsNobodysVerdict(t *testing.T) {
	port, hits, release := counted(t)
	path := protocol.ProbePath(token, "app", "liveness")
	h := NewHandler(protocol.Probes{path: {HTTP: &protocol.HTTPProbe{Port: port, Path: "/"}, TimeoutSeconds: 60}}, loopback, slog.New(slog.DiscardHandler))
	for i := range int64(5) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
		}()
		for hits("/") <= i {
			time.Sleep(time.Millisecond)
		}
		cancel()
		<-done
	}
	close(release)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	if w.Code != http.StatusOK {
		t.Errorf("after runs that were cancelled: %d %s", w.Code, w.Body)
	}
}

// FuzzPaths: no path but the recorded one reaches the application, whatever a stranger sends, over the
// server's own parsing and cleaning of paths.
func FuzzPaths(f *testing.F) {
	path := protocol.ProbePath(token, "app", "preStop")
	for _, target := range []string{
		"/", "/probe/app/preStop", path, path + "/", path + "?x", "/probe//app/preStop", "/probe/../probe/app/preStop",
		"/probe/%2e%2e/app/preStop", "/probe/" + token + "/app/liveness", strings.ToUpper(path), "//" + path, "/probe/*/app/preStop", path + "%00",
	} {
		f.Add(target)
	}
	h := NewHandler(protocol.Probes{path: {}}, loopback, slog.New(slog.DiscardHandler)) // a path that is found is answered with 501: its probe has no action
	mux := http.NewServeMux()
	mux.Handle("GET "+protocol.ProbePrefix, h)
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, &http.Request{Method: http.MethodGet, URL: u, RequestURI: target, Host: "pod", Header: http.Header{}})
		if found := w.Code == http.StatusNotImplemented; found != (u.Path == path) {
			t.Errorf("%q: %d", target, w.Code)
		}
		if to := w.Header().Get("Location"); strings.Contains(to, token) && !strings.Contains(target, token[8:24]) {
			t.Errorf("%q: the answer gives the token away: %s", target, to)
		}
	})
}
