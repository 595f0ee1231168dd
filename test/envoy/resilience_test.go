// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// two is a client and two servers behind one Service.
func two(t *testing.T, protocol model.Protocol) (m *mesh, from, a, b *pod, s service) {
	t.Helper()
	m = newMesh(t)
	in := model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: protocol}}}
	a = m.sidecar(t, "a", "198.18.9.11", in, nil)
	b = m.sidecar(t, "b", "198.18.9.12", in, nil)
	s = service{
		name: "cart", vip: "198.19.9.1", protocol: protocol, accounts: []string{"a", "b"},
		endpoints: []model.Endpoint{meshed(a.ip, 8080), meshed(b.ip, 8080)},
	}
	from = m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, s.all(m))
	return m, from, a, b, s
}

// TestEndedApplication: the application of one pod has ended, its proxy and its endpoint are still
// there. Requests that reach that proxy come back and go to the other pod: none fails.
func TestEndedApplication(t *testing.T) {
	_, from, a, b, _ := two(t, model.HTTP)
	serve(t, b.listen(t, ":8080"), "b")
	c := client(from.netns)
	for i := range 300 {
		got, err := ask(t.Context(), c, http.MethodPost, fmt.Sprintf("http://198.19.9.1/%d", i), nil)
		if err != nil || got.status != 200 || got.echo.Pod != "b" {
			t.Fatalf("request %d: %d from %q, %v: %s", i, got.status, got.echo.Pod, err, got.body)
		}
		for k := range got.headers {
			if k == "X-Tulle-Unreached" {
				t.Errorf("the client gets %s", k)
			}
		}
	}
	// The seeded fault: the refusals happened, and were what was retried.
	if n := a.stat(t, "cluster.std/in-http1.upstream_cx_connect_fail"); n < 50 {
		t.Errorf("only %d requests met the ended application", n)
	}
	if n := from.stat(t, "cluster.out/shop/cart/80.upstream_rq_retry$"); n < 50 {
		t.Errorf("only %d retries", n)
	}
}

// TestEndedApplicationGRPC: the same for gRPC, where the refusal is a status in a response of 200.
func TestEndedApplicationGRPC(t *testing.T) {
	_, from, a, b, _ := two(t, model.GRPC)
	serveGRPC(t, b.listen(t, ":8080"))
	c := stub(t, from.netns, "198.19.9.1:80")
	for i := range 100 {
		if _, err := c.Check(t.Context(), &healthv1.HealthCheckRequest{}); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if n := a.stat(t, "cluster.std/in-http2.upstream_cx_connect_fail"); n < 15 {
		t.Errorf("only %d calls met the ended application", n)
	}
}

// TestNobodyLeft: without any application the client is told so, in the client's terms.
func TestNobodyLeft(t *testing.T) {
	_, from, _, _, _ := two(t, model.HTTP)
	got := get(t, client(from.netns), "http://198.19.9.1/", nil)
	if got.status != 503 || got.headers.Get("X-Tulle-Unreached") != "" {
		t.Errorf("status %d, headers %v", got.status, got.headers)
	}
	if n := from.stat(t, "cluster.out/shop/cart/80.upstream_rq_retry$"); n != 2 {
		t.Errorf("%d retries, want 2", n)
	}
}

// TestLeavingEndpoint takes an endpoint away while requests are on their way there: they end, and new ones go elsewhere.
func TestLeavingEndpoint(t *testing.T) {
	m, from, a, b, s := two(t, model.HTTP)
	appA := serve(t, a.listen(t, ":8080"), "a")
	appB := serve(t, b.listen(t, ":8080"), "b")
	c := client(from.netns)
	results := make(chan error, 40)
	for range 40 {
		go func() {
			got, err := ask(t.Context(), c, http.MethodGet, "http://198.19.9.1/slow?sleep=2s", nil)
			if err == nil && got.status != 200 {
				err = fmt.Errorf("status %d: %s", got.status, got.body)
			}
			results <- err
		}()
	}
	eventually(t, 10*time.Second, func() error {
		if n := appA.asked.Load() + appB.asked.Load(); n != 40 || appA.asked.Load() == 0 {
			return fmt.Errorf("%d requests have arrived, %d at a", n, appA.asked.Load())
		}
		return nil
	})
	s.endpoints = s.endpoints[1:]
	from.hold(t, s.all(m))
	before := appA.asked.Load()
	for range 40 {
		if got := get(t, c, "http://198.19.9.1/", nil); got.echo.Pod != "b" {
			t.Fatalf("answered with %d by %q", got.status, got.echo.Pod)
		}
	}
	if n := appA.asked.Load(); n != before {
		t.Errorf("the endpoint that has left got %d requests", n-before)
	}
	for range 40 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// TestDeadEndpointTCP: connections go to the endpoint that is there.
func TestDeadEndpointTCP(t *testing.T) {
	m := newMesh(t)
	alive := m.wire.plug(t, "198.18.9.20", false)
	banner(t, alive.listen(t, ":3306"), "server")
	s := service{name: "db", vip: "198.19.9.4", protocol: model.TCP, transport: model.Plain, endpoints: []model.Endpoint{
		plain("198.18.9.20", 3306), plain("198.18.9.20", 3307), // nobody listens on 3307
	}}
	from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, s.all(m))
	for range 10 {
		greeted(t, from.netns, "198.19.9.4:80")
	}
	if n := from.stat(t, "cluster.out/shop/db/80.upstream_cx_connect_fail$"); n == 0 {
		t.Error("no connection met the dead endpoint")
	}
}

// TestIdleApplication: an application closes idle connections after 1 s, and clients ask about once a second.
func TestIdleApplication(t *testing.T) {
	_, from, a, b, _ := two(t, model.HTTP)
	impatient := func(s *http.Server) { s.IdleTimeout = time.Second }
	serve(t, a.listen(t, ":8080"), "a", impatient)
	serve(t, b.listen(t, ":8080"), "b", impatient)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 150 {
		wg.Go(func() {
			c, rnd := client(from.netns), rand.New(rand.NewPCG(1, uint64(i)))
			for range 4 {
				got, err := ask(ctx, c, http.MethodPost, "http://198.19.9.1/", nil)
				if err != nil || got.status != 200 {
					t.Errorf("%d, %v: %s", got.status, err, got.body)
				}
				// Around the moment at which the application closes.
				time.Sleep(997*time.Millisecond + time.Duration(rnd.IntN(4000))*time.Microsecond)
			}
		})
	}
	wg.Wait()
}

// TestTimeoutsAndRetries: what rules say about time and codes happens.
func TestTimeoutsAndRetries(t *testing.T) {
	m, from, a, b, s := two(t, model.HTTP)
	appA, appB := serve(t, a.listen(t, ":8080"), "a"), serve(t, b.listen(t, ":8080"), "b")
	both := []model.WeightedBackend{s.to(1)}
	from.hold(t, s.all(m,
		model.Rule{Match: prefix("/request"), Timeout: 300 * time.Millisecond, Backends: both},
		model.Rule{Match: prefix("/backend"), BackendTimeout: 300 * time.Millisecond, Backends: both},
		model.Rule{Match: prefix("/codes"), Retry: &model.Retry{Attempts: 5, Codes: []uint32{503}, Backoff: time.Millisecond}, Backends: both},
		model.Rule{Match: prefix("/late"), BackendTimeout: 300 * time.Millisecond, Retry: &model.Retry{Attempts: 2, Broken: true}, Backends: both},
		model.Rule{Backends: both},
	))
	c := client(from.netns)
	for path, want := range map[string]int{
		"/request?sleep=3s": 504, "/backend?sleep=3s": 504, "/request": 200, "/other?sleep=1s": 200,
		"/codes?flaky=2&id=x": 200, "/other?flaky=1&id=y": 503,
	} {
		start := time.Now()
		if got := get(t, c, "http://198.19.9.1"+path, nil); got.status != want {
			t.Errorf("%s: status %d, want %d", path, got.status, want)
		}
		if want == 504 && time.Since(start) > 2*time.Second {
			t.Errorf("%s took %v", path, time.Since(start))
		}
	}
	before := appA.asked.Load() + appB.asked.Load()
	if got := get(t, c, "http://198.19.9.1/late?sleep=3s", nil); got.status != 504 {
		t.Errorf("/late: status %d", got.status)
	}
	if n := appA.asked.Load() + appB.asked.Load() - before; n != 3 {
		t.Errorf("/late was asked for %d times, want once and 2 retries", n)
	}
}

// TestBrokenConnections: a server reads requests and hangs up. Where the rule says so they are sent again.
func TestBrokenConnections(t *testing.T) {
	m := newMesh(t)
	var broken atomic.Int64
	l := m.wire.plug(t, "198.18.9.20", false).listen(t, ":8080")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			r, err := http.ReadRequest(bufio.NewReader(c))
			if err == nil && r.URL.Path == "/again" && broken.Load() >= 2 {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			}
			broken.Add(1)
			_ = c.Close()
		}
	}()
	s := service{name: "cart", vip: "198.19.9.1", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.20", 8080)}}
	from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, s.all(m,
		model.Rule{Match: prefix("/again"), Retry: &model.Retry{Attempts: 3, Backoff: time.Millisecond, Broken: true}, Backends: []model.WeightedBackend{s.to(1)}},
		model.Rule{Backends: []model.WeightedBackend{s.to(1)}},
	))
	c := client(from.netns)
	if got := get(t, c, "http://198.19.9.1/again", nil); got.status != 200 || broken.Load() != 3 {
		t.Errorf("status %d after %d attempts", got.status, broken.Load())
	}
	if got := get(t, c, "http://198.19.9.1/once", nil); got.status != 503 || broken.Load() != 4 {
		t.Errorf("status %d after %d attempts in all, want one more and no retry", got.status, broken.Load())
	}
}

// TestAffinity: one client keeps to one endpoint, and to the same after another has joined or left often enough to matter.
func TestAffinity(t *testing.T) {
	m := newMesh(t)
	s := service{name: "cart", vip: "198.19.9.1", protocol: model.HTTP, transport: model.Plain, affinity: true}
	apps := m.wire.plug(t, "198.18.9.20", false)
	for i := range 5 {
		port := uint16(8001 + i)
		serve(t, apps.listen(t, fmt.Sprintf(":%d", port)), fmt.Sprint(port))
		s.endpoints = append(s.endpoints, plain("198.18.9.20", port))
	}
	from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, s.all(m))
	seen := map[string]int{}
	for range 50 { // new connections each time
		c := client(from.netns)
		seen[get(t, c, "http://198.19.9.1/", nil).echo.Pod]++
		c.CloseIdleConnections()
	}
	if len(seen) != 1 || seen[""] != 0 {
		t.Errorf("one client went to %v", seen)
	}
}
