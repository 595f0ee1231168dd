// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package probes

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// kubelet puts a recorded probe or hook to an agent over a connection, as the kubelet does. err is what it got
// instead of an answer, or while it read the answer.
func kubelet(t *testing.T, kind string, p protocol.HTTPProbe) (status int, body string, log string, err error) {
	t.Helper()
	path := protocol.ProbePath(token, "app", kind)
	var out bytes.Buffer
	h := NewHandler(protocol.Probes{path: {HTTP: &p, TimeoutSeconds: 1}}, loopback, slog.New(slog.NewTextHandler(&out, nil)))
	agent := httptest.NewServer(h)
	defer agent.Close()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, agent.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := agent.Client().Do(r)
	if err != nil {
		agent.Close()
		return 0, "", out.String(), err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), out.String(), err
}

// answering is an application with answers that are unusual.
func answering(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/health":
		io.WriteString(w, strings.Repeat("healthy ", 1<<10))
	case "/broken":
		w.Header().Set("Content-Length", "5000")
		io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case "/chunked":
		for range 2 << 10 {
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<10)); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
		}
	case "/early":
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "ok")
	case "/empty":
		w.WriteHeader(http.StatusNoContent)
	case "/failing":
		http.Error(w, "not yet", http.StatusInternalServerError)
	case "/closed":
		panic(http.ErrAbortHandler)
	case "/silent":
		<-r.Context().Done()
	case "/loop":
		http.Redirect(w, r, "/loop", http.StatusFound)
	case "/credentials":
		fmt.Fprintf(w, "%q %q", r.Header["Authorization"], r.Header["X"])
	}
}

// TestHooksFailAsForTheKubelet: a hook that got no HTTP answer is one to the kubelet, too. With any status it has succeeded.
func TestHooksFailAsForTheKubelet(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(answering))
	defer app.Close()
	u, _ := url.Parse(app.URL)
	port := portOf(t, u.Host)
	for _, kind := range []string{"postStart", "preStop"} {
		for path, fails := range map[string]bool{
			"/health": false, "/failing": false, "/empty": false, "/early": false, "/broken": false, "/chunked": false,
			"/closed": true, "/silent": true, "/loop": true,
		} {
			status, _, log, err := kubelet(t, kind, protocol.HTTPProbe{Port: port, Path: path})
			if (err != nil) != fails {
				t.Errorf("%s %s: %d, %v", kind, path, status, err)
			}
			if logged := strings.Contains(log, "hook="+kind); logged != fails || strings.Contains(log, token) {
				t.Errorf("%s %s: log %q", kind, path, log)
			}
		}
		if status, _, _, err := kubelet(t, kind, protocol.HTTPProbe{Port: 1, Path: "/"}); err == nil {
			t.Errorf("%s at a closed port: %d", kind, status)
		}
	}
	// A probe that gets no answer is a failure that the kubelet reads.
	if status, text, _, err := kubelet(t, "readiness", protocol.HTTPProbe{Port: 1, Path: "/"}); err != nil || status != http.StatusServiceUnavailable || !strings.Contains(text, "refused") {
		t.Errorf("a probe at a closed port: %d %q, %v", status, text, err)
	}
}

// TestHookFallsBackToHTTP: a hook that asks for HTTPS at a server of HTTP is asked again without TLS and credentials. A
// probe is not.
func TestHookFallsBackToHTTP(t *testing.T) {
	var hits atomic.Int64
	var seen atomic.Value
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		seen.Store(fmt.Sprintf("%q %q", r.Header["Authorization"], r.Header["X"]))
	}))
	defer app.Close()
	u, _ := url.Parse(app.URL)
	p := protocol.HTTPProbe{Port: portOf(t, u.Host), Path: "/", Scheme: "HTTPS", Headers: [][2]string{{"authorization", "secret"}, {"X", "1"}}}
	for _, kind := range []string{"postStart", "preStop"} {
		hits.Store(0)
		if status, _, _, err := kubelet(t, kind, p); err != nil || status != http.StatusOK || hits.Load() != 1 {
			t.Errorf("%s: %d, %v, %d requests", kind, status, err, hits.Load())
		}
		if got := seen.Load(); got != `[] ["1"]` {
			t.Errorf("%s: authorization and x are %v", kind, got)
		}
	}
	hits.Store(0)
	if status, _, _, err := kubelet(t, "liveness", p); err != nil || status != http.StatusServiceUnavailable || hits.Load() != 0 {
		t.Errorf("a probe: %d, %v, %d requests", status, err, hits.Load())
	}
}

// TestAnswersAreReadAsByTheKubelet: 10 KiB of an answer are read, so a server that writes as much sees no broken connection; a
// body that breaks off does so for the kubelet, too, which then keeps the result of the probe before.
func TestAnswersAreReadAsByTheKubelet(t *testing.T) {
	app := httptest.NewServer(http.HandlerFunc(answering))
	defer app.Close()
	u, _ := url.Parse(app.URL)
	port := portOf(t, u.Host)
	for path, want := range map[string]struct {
		status int
		text   string
		broken bool
	}{
		"/health": {200, strings.Repeat("healthy ", 128) + "\n", false}, "/chunked": {200, strings.Repeat("x", 1<<10) + "\n", false},
		"/early": {200, "ok\n", false}, "/empty": {200, "\n", false}, "/failing": {500, "not yet\n\n", false}, "/broken": {200, "half", true},
	} {
		status, text, _, err := kubelet(t, "readiness", protocol.HTTPProbe{Port: port, Path: path})
		if status != want.status || text != want.text || (err != nil) != want.broken {
			t.Errorf("%s: %d %.40q, %v", path, status, text, err)
		}
	}
	// A server that notices whether its answer was read.
	for size, whole := range map[int]bool{9 << 10: true, 40 << 20: false} {
		written := make(chan error, 1)
		large := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			body := bytes.Repeat([]byte("x"), size)
			_, _ = w.Write(body[:size/2])
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done(): // the connection was closed before all was sent
				written <- r.Context().Err()
				return
			case <-time.After(300 * time.Millisecond):
			}
			_, err := w.Write(body[size/2:])
			written <- err
		}))
		u, _ := url.Parse(large.URL)
		if status, _, _, err := kubelet(t, "liveness", protocol.HTTPProbe{Port: portOf(t, u.Host), Path: "/"}); status != http.StatusOK || err != nil {
			t.Errorf("%d bytes: %d, %v", size, status, err)
		}
		if err := <-written; (err == nil) != whole {
			t.Errorf("%d bytes: the server got %v", size, err)
		}
		large.Close()
	}
}
