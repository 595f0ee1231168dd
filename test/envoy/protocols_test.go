// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
)

// pair is a client and a server with their proxies, and three Services on the server.
type pair struct {
	m                *mesh
	from, to         *pod
	http, rpc, bytes service
	app              *app
	health           *health.Server
}

func newPair(t *testing.T, strict bool) *pair {
	t.Helper()
	return newPairOf(t, strict, nil, nil)
}

// newPairOf is a pair whose client or server is configured by another release, where that is not nil.
func newPairOf(t *testing.T, strict bool, client, server *side) *pair {
	t.Helper()
	m := newMesh(t)
	one := func(name, vip string, p model.Protocol, port uint16) service {
		return service{name: name, vip: vip, protocol: p, accounts: []string{"server"}, endpoints: []model.Endpoint{meshed("198.18.9.11", port)}}
	}
	p := &pair{
		m:     m,
		http:  one("http", "198.19.9.1", model.HTTP, 8080),
		rpc:   one("rpc", "198.19.9.2", model.GRPC, 9090),
		bytes: one("bytes", "198.19.9.3", model.TCP, 3306),
	}
	if server != nil {
		m.common, m.inbound = server.common, &server.inbound
	}
	p.to = m.sidecar(t, "server", "198.18.9.11", model.Inbound{Strict: strict, Ports: []model.InboundPort{
		{Port: 3306, Protocol: model.TCP}, {Port: 8080, Protocol: model.HTTP}, {Port: 9090, Protocol: model.GRPC},
	}}, nil)
	p.app = serve(t, p.to.listen(t, ":8080"), "server")
	banner(t, p.to.listen(t, ":3306"), "server")
	p.health = serveGRPC(t, p.to.listen(t, ":9090"))
	m.common, m.inbound = nil, nil
	outbound := concat(p.http.all(m), p.rpc.all(m), p.bytes.all(m))
	if client != nil {
		// Its own inbound listener, which nothing connects to, is of this release and needs this release's clusters.
		m.common, outbound = instead(client.common, envoy.Common(model.Settings{})), instead(client.outbound, outbound)
	}
	p.from = m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, outbound)
	return p
}

// serveGRPC runs a gRPC server: the health service.
func serveGRPC(t *testing.T, l net.Listener) *health.Server {
	t.Helper()
	g, h := grpc.NewServer(grpc.MaxConcurrentStreams(20000)), health.NewServer()
	healthv1.RegisterHealthServer(g, h)
	go g.Serve(l)
	t.Cleanup(g.Stop)
	return h
}

// dial connects from the client's pod, with a deadline.
func (p *pair) dial(t *testing.T, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	return dialFrom(t, p.from.netns, addr)
}

func dialFrom(t *testing.T, ns *netns, addr string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := ns.dial(t.Context(), "tcp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(15 * time.Second))
	return c, bufio.NewReader(c)
}

func send(t *testing.T, w io.Writer, s string) {
	t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		t.Fatalf("write %q: %v", s, err)
	}
}

func line(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	s, err := r.ReadString('\n')
	if err != nil {
		t.Fatalf("read a line: %v (after %q)", err, s)
	}
	return strings.TrimRight(s, "\r\n")
}

// TestProtocols sends through two proxies what is more than a request and a response.
func TestProtocols(t *testing.T) {
	p := newPair(t, true)
	t.Run("WebSocket", p.webSocket)
	t.Run("extended CONNECT", p.extendedConnect)
	t.Run("HTTP/1.0", p.http10)
	t.Run("trailers", p.trailers)
	t.Run("Expect", p.expect)
	t.Run("gRPC", p.grpc)
	t.Run("server first", func(t *testing.T) { greeted(t, p.from.netns, "198.19.9.3:80") })
	t.Run("headers", p.headers)
	t.Run("an unknown destination", p.passthrough)
	t.Run("an HTTP route to bytes", p.routeToBytes)
}

func (p *pair) webSocket(t *testing.T) {
	c, r := p.dial(t, "198.19.9.1:80")
	send(t, c, "GET /ws HTTP/1.1\r\nHost: http\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a2V5\r\nSec-WebSocket-Version: 13\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	defer resp.Body.Close()
	for _, w := range []string{"hello", "again"} {
		send(t, c, w+"\n")
		if got := line(t, r); got != w+" to you" {
			t.Errorf("%q answered with %q", w, got)
		}
	}
}

// extendedConnect: a WebSocket over HTTP/2 (RFC 8441) from the application itself, frame by frame: Go's client sends
// no :protocol since 1.27.
func (p *pair) extendedConnect(t *testing.T) {
	c, _ := p.dial(t, "198.19.9.1:80")
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, field := range [][2]string{{":method", "CONNECT"}, {":protocol", "websocket"}, {":scheme", "http"}, {":authority", "http"}, {":path", "/ws"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}) // into memory
	}
	send(t, c, http2.ClientPreface)
	if err := cmp.Or(f.WriteSettings(), f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})); err != nil {
		t.Fatal(err)
	}
	answered := ""
	for answered != "hello to you\n" {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatalf("answered with %q, then %v", answered, err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if got := frame.PseudoValue("status"); got != "200" {
				t.Fatalf("status %s", got)
			}
			if err := f.WriteData(1, false, []byte("hello\n")); err != nil {
				t.Fatal(err)
			}
		case *http2.DataFrame:
			answered += string(frame.Data())
		case *http2.RSTStreamFrame:
			t.Fatalf("answered with %q, then %v", answered, frame.ErrCode)
		}
	}
}

func (p *pair) http10(t *testing.T) {
	c, r := p.dial(t, "198.19.9.1:80")
	send(t, c, "GET /old HTTP/1.0\r\n\r\n")
	b, err := io.ReadAll(r) // to the end: the server closes
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.0 200") || strings.Contains(string(b), "chunked") {
		t.Errorf("%v: %s", err, b)
	}
}

func (p *pair) trailers(t *testing.T) {
	c, r := p.dial(t, "198.19.9.1:80")
	send(t, c, "POST /t?trailer=1 HTTP/1.1\r\nHost: http\r\nTE: trailers\r\nTrailer: X-Check\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-Check: 7\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(b), `"x-check":"7"`) || !strings.Contains(string(b), `"Body":"body"`) {
		t.Errorf("the application got %s (%v)", b, err)
	}
	if resp.Trailer.Get("X-Sum") != "42" {
		t.Errorf("trailers of the response: %v", resp.Trailer)
	}
}

// expect: the application, not a proxy, tells the client to go on.
func (p *pair) expect(t *testing.T) {
	c, r := p.dial(t, "198.19.9.1:80")
	send(t, c, "POST /e HTTP/1.1\r\nHost: http\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
	if got := line(t, r); got != "HTTP/1.1 100 Continue" {
		t.Fatalf("answered with %q", got)
	}
	for line(t, r) != "" {
	}
	send(t, c, "body")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(b), `"Body":"body"`) {
		t.Errorf("%v: %s", err, b)
	}
}

func (p *pair) stub(t *testing.T) healthv1.HealthClient {
	t.Helper()
	return stub(t, p.from.netns, "198.19.9.2:80")
}

// stub is a gRPC client inside a namespace.
func stub(t *testing.T, ns *netns, addr string) healthv1.HealthClient {
	t.Helper()
	c, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) { return ns.dial(ctx, "tcp4", addr) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return healthv1.NewHealthClient(c)
}

func (p *pair) grpc(t *testing.T) {
	stub := p.stub(t)
	r, err := stub.Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || r.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Fatalf("%v, %v", r, err)
	}
	if _, err := stub.Check(t.Context(), &healthv1.HealthCheckRequest{Service: "none"}); status.Code(err) != codes.NotFound {
		t.Errorf("an error in the trailers came as %v", err)
	}
	watch, err := stub.Watch(t.Context(), &healthv1.HealthCheckRequest{Service: "later"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthv1.HealthCheckResponse_ServingStatus{healthv1.HealthCheckResponse_SERVICE_UNKNOWN, healthv1.HealthCheckResponse_SERVING, healthv1.HealthCheckResponse_NOT_SERVING} {
		r, err := watch.Recv()
		if err != nil || r.GetStatus() != want {
			t.Fatalf("%v, %v; want %v", r, err, want)
		}
		next := healthv1.HealthCheckResponse_SERVING
		if want == healthv1.HealthCheckResponse_SERVING {
			next = healthv1.HealthCheckResponse_NOT_SERVING
		}
		p.health.SetServingStatus("later", next)
	}
}

// greeted: the server speaks first, then both.
func greeted(t *testing.T, ns *netns, addr string) {
	t.Helper()
	c, r := dialFrom(t, ns, addr)
	if got := line(t, r); got != "220 server" {
		t.Errorf("greeted with %q", got)
	}
	send(t, c, "hello\n")
	if got := line(t, r); got != "250 hello" {
		t.Errorf("answered with %q", got)
	}
}

// headers: nothing of Envoy's own reaches the application or its client, and what steers Envoy doesn't get in.
func (p *pair) headers(t *testing.T) {
	a := get(t, client(p.from.netns), "http://198.19.9.1/h?status=503&header=X-Tulle-Unreached:1", func(r *http.Request) {
		r.Header.Set("X-Envoy-Retry-On", "5xx")
		r.Header.Set("X-Envoy-Max-Retries", "5")
		r.Header.Set("X-Envoy-Upstream-Rq-Timeout-Ms", "1")
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		r.Host = "any.example:8080"
	})
	if a.status != 503 || a.echo.Pod != "server" {
		t.Fatalf("status %d: %s", a.status, a.body)
	}
	for k, v := range a.echo.Headers {
		if strings.HasPrefix(k, "x-envoy") || strings.HasPrefix(k, "x-tulle") {
			t.Errorf("the application gets %s: %s", k, v)
		}
	}
	for k := range a.headers {
		if low := strings.ToLower(k); strings.HasPrefix(low, "x-envoy") || strings.HasPrefix(low, "x-tulle") {
			t.Errorf("the client gets %s: %s", k, a.headers.Get(k))
		}
	}
	if a.echo.Headers["x-forwarded-for"] != "203.0.113.9" || a.echo.Host != "any.example:8080" {
		t.Errorf("X-Forwarded-For is %q, Host is %q", a.echo.Headers["x-forwarded-for"], a.echo.Host)
	}
	if n := p.from.stat(t, "cluster.out/shop/http/80.upstream_rq_retry$"); n != 0 {
		t.Errorf("%d retries of what the application answered", n)
	}
}

func (p *pair) passthrough(t *testing.T) {
	outside := p.m.wire.plug(t, "198.18.9.30", false)
	serve(t, outside.listen(t, ":8000"), "outside")
	if a := get(t, client(p.from.netns), "http://198.18.9.30:8000/x", nil); a.echo.Pod != "outside" {
		t.Errorf("status %d: %s", a.status, a.body)
	}
}

// routeToBytes: a rule names a Service whose port has no declared protocol.
func (p *pair) routeToBytes(t *testing.T) {
	serve(t, p.to.listen(t, ":8081"), "opaque")
	opaque := service{name: "opaque", protocol: model.TCP, accounts: []string{"server"}, endpoints: []model.Endpoint{meshed("198.18.9.11", 8081)}}
	p.from.hold(t, concat(opaque.backend(p.m), p.http.all(p.m, model.Rule{Backends: []model.WeightedBackend{opaque.to(1)}})))
	for range 3 {
		if a := get(t, client(p.from.netns), "http://198.19.9.1/x", nil); a.echo.Pod != "opaque" {
			t.Errorf("status %d: %s", a.status, a.body)
		}
	}
	if n := p.from.stat(t, "cluster.out/shop/opaque/80.ssl.handshake"); n == 0 {
		t.Error("not over mutual TLS")
	}
}

// TestTenThousandStreams holds 10,000 streams open at once, 100 on each connection between the proxies.
func TestTenThousandStreams(t *testing.T) {
	const n = 10000
	p := newPair(t, true)
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	opened, answered, told := make(chan error, n), make(chan error, n), make(chan struct{})
	for range 10 { // the application's own connections, 1,000 streams each
		stub := p.stub(t)
		go func() {
			for range n / 10 {
				w, err := stub.Watch(ctx, &healthv1.HealthCheckRequest{})
				if err == nil {
					_, err = w.Recv() // the stream has been to the application and back
				}
				opened <- err
				if err == nil {
					go func() {
						<-told
						_, err := w.Recv()
						answered <- err
					}()
				}
			}
		}()
	}
	for i := range n {
		if err := <-opened; err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
	if got := p.from.stat(t, "cluster.out/shop/rpc/80.upstream_rq_active"); got != n {
		t.Errorf("%d streams are active, want %d", got, n)
	}
	if got := p.from.stat(t, "cluster.out/shop/rpc/80.upstream_cx_total"); got != n/100 {
		t.Errorf("%d connections between the proxies, want %d", got, n/100)
	}
	// All of them are answered in one moment.
	close(told)
	p.health.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	for i := range n {
		if err := <-answered; err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
	}
}
