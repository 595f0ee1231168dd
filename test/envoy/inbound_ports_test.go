// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// sharedPort is a server with one port that four Services lead to, each with another protocol: three of its
// own namespace, and one of a stranger who calls the port bytes.
type sharedPort struct {
	m          *mesh
	from, to   *pod
	outside    *netns
	app        *app
	raw        model.PortKey
	everything []envoy.Resource
}

func newSharedPort(t *testing.T, strict bool) *sharedPort {
	t.Helper()
	s := &sharedPort{m: newMesh(t), raw: model.PortKey{Service: model.Key{Namespace: "shop", Name: "raw"}, Port: 80}}
	s.outside = s.m.wire.plug(t, "198.18.9.30", false)
	s.to = s.m.sidecar(t, "server", "198.18.9.11", s.inbound(strict), nil)
	s.app = serve(t, s.to.listen(t, ":8080"), "server")
	for i, p := range []model.Protocol{model.HTTP, model.GRPC, model.TCP, model.TCP, model.HTTP} {
		name := []string{"web", "rpc", "raw", "theirs", "mixed"}[i]
		svc := service{
			name: name, vip: fmt.Sprintf("198.19.9.%d", i+1), protocol: p, accounts: []string{"server"},
			endpoints: []model.Endpoint{meshed("198.18.9.11", 8080)},
		}
		if name == "mixed" {
			svc.transport = model.Mixed
		}
		s.everything = append(s.everything, svc.all(s.m)...)
	}
	s.from = s.m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, s.everything)
	return s
}

// inbound is what the server serves, with the ports of the pod's own Services.
func (s *sharedPort) inbound(strict bool) model.Inbound {
	return model.Inbound{
		Pod: model.Key{Namespace: "shop", Name: "server"}, Strict: strict,
		Ports: []model.InboundPort{{Port: 8080, Protocol: model.GRPC, Bytes: []model.PortKey{s.raw}}},
	}
}

// TestSharedTargetPort: what the application is asked with is what the Service port says that the client
// meant, whatever other Services say of the same port of the application.
func TestSharedTargetPort(t *testing.T) {
	for _, strict := range []bool{true, false} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			s := newSharedPort(t, strict)
			told := func(what, protocol string, a answer) {
				t.Helper()
				if a.status != 200 || a.echo.Proto != protocol {
					t.Errorf("%s: status %d, the application is asked with %s, want %s", what, a.status, a.echo.Proto, protocol)
				}
				if x := a.echo.Headers["x-forwarded-client-cert"]; !strings.Contains(x, "sa/client") || strings.Contains(x, "forged") {
					t.Errorf("%s: the application is told %q", what, x)
				}
			}
			c := client(s.from.netns)
			told("an HTTP port", "HTTP/1.1", get(t, c, "http://198.19.9.1/", forged))
			told("a gRPC port", "HTTP/2.0", get(t, c, "http://198.19.9.2/", forged))
			told("bytes from a stranger's Service", "HTTP/1.1", get(t, c, "http://198.19.9.4/", forged))
			told("an HTTP port, not all of whose endpoints have a proxy", "HTTP/1.1", get(t, c, "http://198.19.9.5/", forged))
			webSocketTo(t, s.from.netns, "198.19.9.1:80")
			webSocketTo(t, s.from.netns, "198.19.9.5:80")
			// Declared to be bytes by the pod's own namespace: a client may close its side.
			conn, _ := dialFrom(t, s.from.netns, "198.19.9.3:80")
			send(t, conn, "GET /half HTTP/1.1\r\nHost: raw\r\nConnection: close\r\n\r\n")
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(conn); err != nil || !strings.Contains(string(b), `"Path":"/half"`) {
				t.Errorf("a half-closed connection of bytes: %v, %s", err, b)
			}
		})
	}
}

// TestPlaintextProtocol: what a client without a proxy speaks is what the application is asked with, whatever
// Services say of the port.
func TestPlaintextProtocol(t *testing.T) {
	s := newSharedPort(t, false)
	for protocol, c := range map[string]*http.Client{"HTTP/1.1": client(s.outside), "HTTP/2.0": client(s.outside, "h2c")} {
		a := get(t, c, "http://198.18.9.11:8080/", forged)
		if a.status != 200 || a.echo.Proto != protocol || a.echo.Headers["x-forwarded-client-cert"] != "" {
			t.Errorf("%s: status %d, asked with %s, told %q", protocol, a.status, a.echo.Proto, a.echo.Headers["x-forwarded-client-cert"])
		}
	}
	webSocketTo(t, s.outside, "198.18.9.11:8080")
	old, all := dialFrom(t, s.outside, "198.18.9.11:8080")
	send(t, old, "GET /old HTTP/1.0\r\n\r\n")
	if b, err := io.ReadAll(all); err != nil || !strings.HasPrefix(string(b), "HTTP/1.0 200") {
		t.Errorf("HTTP/1.0: %v, %s", err, b)
	}
	c, r := dialFrom(t, s.outside, "198.18.9.11:8080")
	send(t, c, "hello\n\n")
	if got := line(t, r); got != "HTTP/1.1 400 Bad Request" {
		t.Errorf("what is not HTTP: %q", got)
	}
}

// TestAnyALPN: a connection that names no Service port is HTTP with the caller's identity where the port
// speaks HTTP, in the client's version, and bytes elsewhere.
func TestAnyALPN(t *testing.T) {
	s := newSharedPort(t, true)
	banner(t, s.to.listen(t, ":3306"), "server")
	dial := func(port int) *tls.Conn {
		t.Helper()
		c, _ := dialFrom(t, s.outside, fmt.Sprintf("198.18.9.11:%d", port))
		config := with(t, meshHello(), s.m.pki.leaf(t, "spiffe://cluster.local/ns/shop/sa/client", ""))
		config.NextProtos, config.InsecureSkipVerify = []string{names.ALPNAny}, true
		tc := tls.Client(c, config)
		if err := tc.HandshakeContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		return tc
	}
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		url, rt := "https://server/", &http.Transport{DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return dial(8080), nil }}
		if protocol == "HTTP/2.0" {
			url, rt = "http://server/", http2Over(dial(8080))
		}
		a := get(t, &http.Client{Transport: rt}, url, forged)
		if x := a.echo.Headers["x-forwarded-client-cert"]; a.echo.Proto != protocol || !strings.Contains(x, "sa/client") || strings.Contains(x, "forged") {
			t.Errorf("%s: status %d, asked with %s, told %q", protocol, a.status, a.echo.Proto, x)
		}
	}
	if got := line(t, bufio.NewReader(dial(3306))); got != "220 server" {
		t.Errorf("a port of bytes: greeted with %q", got)
	}
}

// forged is the header of a client that wants to be somebody else.
func forged(r *http.Request) {
	r.Header.Set("X-Forwarded-Client-Cert", "URI=spiffe://cluster.local/ns/shop/sa/forged")
}

func webSocketTo(t *testing.T, ns *netns, addr string) {
	t.Helper()
	c, r := dialFrom(t, ns, addr)
	send(t, c, "GET /ws HTTP/1.1\r\nHost: http\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a2V5\r\nSec-WebSocket-Version: 13\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Errorf("WebSocket to %s: %v, %v", addr, resp, err)
		return
	}
	defer resp.Body.Close()
	send(t, c, "hello\n")
	if got := line(t, r); got != "hello to you" {
		t.Errorf("WebSocket to %s answered with %q", addr, got)
	}
}

// TestInboundChanges holds connections while the server's ports and the mode of mutual TLS change. Those that
// the new configuration still allows live on; plaintext ends when Strict begins.
func TestInboundChanges(t *testing.T) {
	s := newSharedPort(t, false)
	banner(t, s.to.listen(t, ":3306"), "server")
	open := func(ns *netns, addr string) *kept {
		c, _ := dialFrom(t, ns, addr)
		return keep(t, c, "server")
	}
	held := map[string]*kept{
		"HTTP":           open(s.from.netns, "198.19.9.1:80"),
		"bytes":          open(s.from.netns, "198.19.9.3:80"),
		"bytes, as HTTP": open(s.from.netns, "198.19.9.4:80"),
	}
	plaintext := map[string]*kept{"HTTP": open(s.outside, "198.18.9.11:8080")}
	for what, k := range held {
		if err := k.ask("/"); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	bytes, greeting := dialFrom(t, s.outside, "198.18.9.11:3306")
	if got := line(t, greeting); got != "220 server" {
		t.Fatalf("greeted with %q", got)
	}
	if err := plaintext["HTTP"].ask("/"); err != nil {
		t.Fatal(err)
	}
	answer := open(s.from.netns, "198.19.9.2:80") // a gRPC port; the request is under way all the time
	answered := make(chan error, 1)
	go func() { answered <- answer.ask("/slow?sleep=13s") }()

	replaced := s.to.stat(t, "listener_manager.listener_in_place_updated")
	become := func(what string, in model.Inbound) {
		t.Helper()
		own := []envoy.Resource{}
		for _, r := range s.to.own {
			if r.Name == names.Inbound("shop", "server") {
				in.Pod = model.Key{Namespace: "shop", Name: "server"}
				r = envoy.Inbound(in)
			}
			own = append(own, r)
		}
		s.m.ads.set(t, "server", own)
		eventually(t, 20*time.Second, func() error {
			if n := s.to.stat(t, "listener_manager.listener_in_place_updated"); n != replaced+1 {
				return fmt.Errorf("%s: %d updates in place, want %d", what, n, replaced+1)
			}
			return nil
		})
		replaced++
		time.Sleep(2500 * time.Millisecond) // connections that are to end do so after the time to drain, 2 s
		for name, k := range held {
			if err := k.ask("/"); err != nil {
				t.Errorf("%s: the connection of %s: %v", what, name, err)
			}
		}
	}
	ports := s.inbound(false)
	ports.Ports = append(ports.Ports, model.InboundPort{Port: 8081, Protocol: model.HTTP}) // one of bytes would be no change
	become("another port", ports)
	become("the port's own protocol", model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}})
	become("no Service left", model.Inbound{})
	if err := plaintext["HTTP"].ask("/"); err != nil {
		t.Errorf("plaintext HTTP: %v", err)
	}
	send(t, bytes, "hello\n")
	if got := line(t, greeting); got != "250 hello" {
		t.Errorf("plaintext bytes: answered with %q", got)
	}
	become("Strict", s.inbound(true))
	if err := plaintext["HTTP"].ask("/"); err == nil {
		t.Error("plaintext HTTP is as it was: does this see draining at all?")
	}
	if _, err := greeting.ReadByte(); err == nil {
		t.Error("plaintext bytes are as they were")
	}
	become("Permissive", s.inbound(false))
	if err := open(s.outside, "198.18.9.11:8080").ask("/"); err != nil {
		t.Errorf("plaintext in Permissive mode again: %v", err)
	}
	if err := <-answered; err != nil {
		t.Errorf("the request that was under way: %v", err)
	}
}

// TestLateHello: in Strict mode a connection of the mesh is served whose hello comes after the time in which
// the listener looks for one.
func TestLateHello(t *testing.T) {
	p := newPair(t, true)
	c, _ := dialFrom(t, p.m.wire.plug(t, "198.18.9.30", false), "198.18.9.11:8080")
	time.Sleep(time.Second)
	config := with(t, meshHello(), p.m.pki.leaf(t, "spiffe://cluster.local/ns/shop/sa/client", ""))
	config.InsecureSkipVerify = true //nolint:gosec // the server's check of the client is what is tested
	tc := tls.Client(c, config)
	if err := tc.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if a := get(t, &http.Client{Transport: http2Over(tc)}, "http://server/", forged); a.status != 200 || !strings.Contains(a.echo.Headers["x-forwarded-client-cert"], "sa/client") {
		t.Errorf("status %d, told %q", a.status, a.echo.Headers["x-forwarded-client-cert"])
	}
}
