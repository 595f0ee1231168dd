// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"tulle.dev/tulle/internal/controlplane/model"
)

const (
	// short is the timeout that is set, long for how long requests go on that are longer.
	short = 700 * time.Millisecond
	long  = 2 * short
	// beat is the time between two parts of a body.
	beat = 50 * time.Millisecond
)

// patient is a server that takes its time. The end of the path says how:
//
//	late    no answer until the client has gone
//	endless an answer that goes on until the client has gone
//	stream  an answer that goes on for long
//	upload  an answer once all of the body is there
//	duplex  an answer at once, whose body goes on for long after all of the request's
//	socket  an upgrade
type patient struct{ busy atomic.Int64 }

func (p *patient) serve(t *testing.T) func(net.Listener) {
	return func(l net.Listener) {
		var both http.Protocols
		both.SetHTTP1(true)
		both.SetUnencryptedHTTP2(true)
		s := &http.Server{Handler: p, Protocols: &both}
		go s.Serve(l)
		t.Cleanup(func() { s.Close() })
	}
}

func (p *patient) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.busy.Add(1)
	defer p.busy.Add(-1)
	c := http.NewResponseController(w)
	_ = c.EnableFullDuplex()
	switch how := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]; how {
	case "late":
		<-r.Context().Done()
	case "endless":
		for say(w, c, r) {
		}
	case "stream":
		speak(w, c, r)
	case "upload", "duplex":
		if how == "duplex" && !say(w, c, r) {
			return
		}
		b, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		_, _ = fmt.Fprintln(w, len(b))
		if how == "duplex" {
			speak(w, c, r)
		}
	case "socket":
		upgrade(w, r)
	}
}

// speak writes for long, and ends with a word that shows that it was not interrupted.
func speak(w io.Writer, c *http.ResponseController, r *http.Request) {
	for start := time.Now(); time.Since(start) < long; {
		if !say(w, c, r) {
			return
		}
	}
	_, _ = io.WriteString(w, "end\n")
}

func say(w io.Writer, c *http.ResponseController, r *http.Request) bool {
	_, _ = io.WriteString(w, "a line\n")
	_ = c.Flush()
	select {
	case <-r.Context().Done():
		return false
	case <-time.After(beat):
		return true
	}
}

// TestTimeouts: what timeouts do to bodies that take longer (GEP-1742). timeouts.request counts from the
// end of the request to the end of the answer, timeouts.backendRequest to its beginning.
func TestTimeouts(t *testing.T) {
	server := &patient{}
	edge, mesh := doors(t, newMesh(t), server.serve(t),
		model.Rule{Match: prefix("/request"), Timeout: short},
		model.Rule{Match: prefix("/backend"), BackendTimeout: short},
		model.Rule{Match: prefix("/both"), Timeout: short, BackendTimeout: short / 2},
		model.Rule{Match: prefix("/retried"), BackendTimeout: short, Retry: &model.Retry{Attempts: 3, Broken: true}},
		model.Rule{}, // 0s, or nothing said
	)
	clients := map[string]*http.Client{
		"edge": client(edge.ns), "mesh": client(mesh.ns), "mesh HTTP/2": client(mesh.ns, "h2"), "edge HTTP/2": client(edge.ns, "h2"),
	}
	var wg sync.WaitGroup
	for path, want := range map[string]string{
		"/request/late":    "504",
		"/request/endless": "cut off",
		"/request/stream":  "cut off",
		"/request/upload":  "whole",   // the time begins when all of the request is there
		"/request/duplex":  "cut off", // also where the answer began before

		"/backend/late":   "504",
		"/backend/stream": "whole", // the time ends when the answer begins
		"/backend/upload": "whole",
		"/backend/duplex": "whole",

		"/both/late":    "504",
		"/both/endless": "cut off",
		"/both/upload":  "whole",

		"/retried/stream": "whole", // what has begun is not tried again
		"/retried/upload": "whole",

		"/none/stream": "whole",
		"/none/upload": "whole",
		"/none/duplex": "whole",
	} {
		for name, c := range clients {
			addr := edge.addr
			if strings.HasPrefix(name, "mesh") {
				addr = mesh.addr
			}
			wg.Go(func() {
				start := time.Now()
				got, err := takeTime(t.Context(), c, "http://"+addr+path)
				took := time.Since(start)
				if got != want {
					t.Errorf("%s, %s: %s after %v, want %s (%v)", name, path, got, took, want, err)
				}
				if want == "cut off" && took < short-short/10 { // Envoy counts whole milliseconds
					t.Errorf("%s, %s: cut off after %v already", name, path, took)
				}
			})
		}
	}
	for _, d := range []door{edge, mesh} {
		wg.Go(func() { socketLasts(t, d) })
	}
	wg.Wait()
	// Whoever was answered for is told to stop.
	eventually(t, 5*time.Second, func() error {
		if n := server.busy.Load(); n > 0 {
			return fmt.Errorf("the server still works on %d requests", n)
		}
		return nil
	})
}

// takeTime asks, with a body that goes on for long where one is read, and says what became of the answer.
func takeTime(ctx context.Context, c *http.Client, url string) (string, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if strings.HasSuffix(url, "/upload") || strings.HasSuffix(url, "/duplex") {
		r, w := io.Pipe()
		method, body = http.MethodPost, r
		go func() {
			for start := time.Now(); time.Since(start) < long; time.Sleep(beat) {
				_, _ = io.WriteString(w, "a line\n")
			}
			w.Close()
		}()
	}
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return "no request", err
	}
	req.Host = "www.example.com"
	resp, err := c.Do(req)
	if err != nil {
		return "no answer", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	switch {
	case resp.StatusCode != 200:
		return fmt.Sprint(resp.StatusCode), err
	case len(b) == 0:
		return "empty", err
	case err != nil:
		return "cut off", err
	case !strings.HasSuffix(url, "/upload") && !strings.HasSuffix(string(b), "end\n"):
		return "ended too early", nil
	}
	return "whole", nil
}

// socketLasts: an upgraded connection has no end to wait for, so no timeout counts.
func socketLasts(t *testing.T, d door) {
	c, r := d.dial(t)
	defer c.Close()
	if _, err := io.WriteString(c, "GET /request/socket HTTP/1.1\r\nHost: www.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a2V5\r\nSec-WebSocket-Version: 13\r\n\r\n"); err != nil {
		t.Error(err)
		return
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Errorf("%s: %v, %v", d.name, resp, err)
		return
	}
	defer resp.Body.Close()
	for start := time.Now(); time.Since(start) < long; time.Sleep(beat) {
		_, _ = io.WriteString(c, "hello\n")
		if got, err := r.ReadString('\n'); err != nil || got != "hello to you\n" {
			t.Errorf("%s: %q, %v after %v", d.name, got, err, time.Since(start))
			return
		}
	}
}

// TestTimeoutsGRPC: streams of a server go on where no timeout is set, and end with an error where one is.
func TestTimeoutsGRPC(t *testing.T) {
	p := newPair(t, true)
	watch := func() healthv1.Health_WatchClient {
		t.Helper()
		w, err := p.stub(t).Watch(t.Context(), &healthv1.HealthCheckRequest{})
		if err == nil {
			_, err = w.Recv()
		}
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	// Without a word Envoy's own timeout would be 15 s, which is too long to wait for here.
	for _, d := range p.from.timeouts(t) {
		if d != "0s" {
			t.Errorf("a route has a timeout of %q", d)
		}
	}
	free := watch()
	p.from.hold(t, p.rpc.all(p.m, model.Rule{Timeout: short, Backends: []model.WeightedBackend{p.rpc.to(1)}}))
	bound, start := watch(), time.Now()
	if _, err := bound.Recv(); status.Code(err) != codes.Internal && status.Code(err) != codes.Unavailable {
		t.Errorf("a stream with a timeout ended with %v", err)
	}
	if d := time.Since(start); d < short/2 || d > 10*short {
		t.Errorf("it ended after %v", d)
	}
	p.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	if r, err := free.Recv(); err != nil || r.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("a stream without a timeout: %v, %v", r, err)
	}
}

// timeouts are those of all routes that the proxy uses.
func (p *proxy) timeouts(t *testing.T) []string {
	t.Helper()
	b, err := p.get("/config_dump?resource=dynamic_route_configs")
	if err != nil {
		t.Fatal(err)
	}
	var tree any
	if err := json.Unmarshal(b, &tree); err != nil {
		t.Fatal(err)
	}
	var found []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			if route, ok := v["route"].(map[string]any); ok {
				found = append(found, fmt.Sprint(route["timeout"]))
			}
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(tree)
	if len(found) == 0 {
		t.Error("no routes found")
	}
	return found
}
