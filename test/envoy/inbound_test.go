// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// TestPermissive: a pod outside the mesh reaches everything, meshed pods still come by mutual TLS.
func TestPermissive(t *testing.T) {
	p := newPair(t, false)
	outside := p.m.wire.plug(t, "198.18.9.30", false)
	if a := get(t, client(outside), "http://198.18.9.11:8080/x", func(r *http.Request) {
		r.Header.Set("X-Forwarded-Client-Cert", "URI=spiffe://cluster.local/ns/shop/sa/forged")
	}); a.status != 200 || a.echo.Headers["x-forwarded-client-cert"] != "" {
		t.Errorf("plaintext: status %d, the application is told %q", a.status, a.echo.Headers["x-forwarded-client-cert"])
	}
	greeted(t, outside, "198.18.9.11:3306")
	greeted(t, p.from.netns, "198.19.9.3:80")
	if a := get(t, client(p.from.netns), "http://198.19.9.1/x", nil); !strings.Contains(a.echo.Headers["x-forwarded-client-cert"], "sa/client") {
		t.Errorf("a meshed client: status %d, %q", a.status, a.echo.Headers["x-forwarded-client-cert"])
	}
	// Ports that no Service names: bytes pass, server first too.
	banner(t, p.to.listen(t, ":7777"), "server")
	greeted(t, outside, "198.18.9.11:7777")
	// The application's own TLS passes as it is, on a port the mesh takes for HTTP.
	own := p.m.pki.leaf(t, "", "own.example")
	cert, err := tls.X509KeyPair([]byte(own.chain), []byte(own.key))
	if err != nil {
		t.Fatal(err)
	}
	p.app.server.Close()
	serve(t, tls.NewListener(p.to.listen(t, ":8080"), &tls.Config{Certificates: []tls.Certificate{cert}}), "own")
	c, _ := dialFrom(t, outside, "198.18.9.11:8080")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(p.m.pki.roots()))
	tc := tls.Client(c, &tls.Config{ServerName: "own.example", RootCAs: roots})
	if err := tc.HandshakeContext(t.Context()); err != nil {
		t.Errorf("the application's own TLS: %v", err)
	}
}

// TestStrict: whoever has no certificate of the mesh is closed, whatever it says and wherever.
func TestStrict(t *testing.T) {
	p := newPair(t, true)
	outside := p.m.wire.plug(t, "198.18.9.30", false)
	banner(t, p.to.listen(t, ":7777"), "server")
	foreign := newAuthority(t)
	refused := map[string]func(*testing.T) error{
		"plaintext":    func(t *testing.T) error { return plaintext(t, outside, "198.18.9.11:8080") },
		"server first": func(t *testing.T) error { return silent(t, outside, "198.18.9.11:3306") },
		"unknown port": func(t *testing.T) error { return silent(t, outside, "198.18.9.11:7777") },
		"other TLS": func(t *testing.T) error {
			return hello(t, p, outside, &tls.Config{ServerName: "server.example"})
		},
		"no certificate": func(t *testing.T) error {
			return hello(t, p, outside, meshHello())
		},
		"a foreign root": func(t *testing.T) error {
			return hello(t, p, outside, with(t, meshHello(), foreign.leaf(t, "spiffe://cluster.local/ns/shop/sa/client", "")))
		},
		"a foreign trust domain": func(t *testing.T) error {
			return hello(t, p, outside, with(t, meshHello(), p.m.pki.leaf(t, "spiffe://other.domain/ns/shop/sa/client", "")))
		},
		"no identity": func(t *testing.T) error {
			return hello(t, p, outside, with(t, meshHello(), p.m.pki.leaf(t, "", "client.example")))
		},
		"an old TLS version": func(t *testing.T) error {
			c := with(t, meshHello(), p.m.pki.leaf(t, "spiffe://cluster.local/ns/shop/sa/client", ""))
			c.MaxVersion = tls.VersionTLS12
			return hello(t, p, outside, c)
		},
	}
	for name, try := range refused {
		t.Run(name, func(t *testing.T) {
			if err := try(t); err == nil {
				t.Error("was served")
			}
		})
	}
	if n := p.app.asked.Load(); n != 0 {
		t.Errorf("the application was asked %d times", n)
	}
	// The same hello with a certificate of the mesh is served: it was not something else that failed.
	if err := hello(t, p, outside, with(t, meshHello(), p.m.pki.leaf(t, "spiffe://cluster.local/ns/shop/sa/client", ""))); err != nil {
		t.Errorf("a client of the mesh: %v", err)
	}
	greeted(t, p.from.netns, "198.19.9.3:80")
}

func meshHello() *tls.Config {
	return &tls.Config{ServerName: names.SNIOf("shop", "http", 80), NextProtos: []string{names.ALPNHTTP}}
}

func with(t *testing.T, c *tls.Config, l leaf) *tls.Config {
	t.Helper()
	cert, err := tls.X509KeyPair([]byte(l.chain), []byte(l.key))
	if err != nil {
		t.Fatal(err)
	}
	c.Certificates = []tls.Certificate{cert}
	return c
}

// hello makes a TLS connection to the server's HTTP port and asks over it. TLS 1.3 tells a client
// only afterwards that its certificate was refused.
func hello(t *testing.T, p *pair, ns *netns, config *tls.Config) error {
	t.Helper()
	config.InsecureSkipVerify = true //nolint:gosec // the server's check of the client is what is tested
	c, _ := dialFrom(t, ns, "198.18.9.11:8080")
	tc := tls.Client(c, config)
	if err := tc.HandshakeContext(t.Context()); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://server/x", nil)
	if err != nil {
		return err
	}
	resp, err := http2Over(tc).RoundTrip(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

func plaintext(t *testing.T, ns *netns, addr string) error {
	t.Helper()
	c, r := dialFrom(t, ns, addr)
	send(t, c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// silent waits for the server to speak first; nil if it does within 2 s.
func silent(t *testing.T, ns *netns, addr string) error {
	t.Helper()
	c, r := dialFrom(t, ns, addr)
	_ = c.SetDeadline(time.Now().Add(2 * time.Second))
	_, err := r.ReadByte()
	return err
}

// TestLoops: what would go round for ever is closed, and a pod reaches itself.
func TestLoops(t *testing.T) {
	m := newMesh(t)
	self := service{name: "self", vip: "198.19.9.1", protocol: model.HTTP, accounts: []string{"self"}, endpoints: []model.Endpoint{meshed("198.18.9.11", 8080)}}
	p := m.sidecar(t, "self", "198.18.9.11", model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, self.all(m))
	serve(t, p.listen(t, ":8080"), "self")
	c := client(p.netns)
	if a := get(t, c, "http://198.19.9.1/", nil); a.echo.Pod != "self" {
		t.Errorf("its own Service: status %d", a.status)
	}
	if a := get(t, c, "http://198.18.9.11:8080/", nil); a.echo.Pod != "self" {
		t.Errorf("its own address: status %d", a.status)
	}
	outside := m.wire.plug(t, "198.18.9.30", false)
	for _, ns := range []*netns{p.netns, outside} {
		for _, port := range []int{names.PortOutbound, names.PortInbound} {
			if err := silent(t, ns, fmt.Sprintf("198.18.9.11:%d", port)); err == nil {
				t.Errorf("port %d answers", port)
			}
		}
	}
	if n := p.stat(t, "listener.0.0.0.0_15001.downstream_cx_total") + p.stat(t, "listener.0.0.0.0_15006.downstream_cx_total"); n > 30 {
		t.Errorf("%d connections: something went round", n)
	}
	// What listens on loopback alone stays private.
	serve(t, p.listen(t, "127.0.0.1:9999"), "private")
	if err := plaintext(t, outside, "198.18.9.11:9999"); err == nil {
		t.Error("an application bound to 127.0.0.1 was reached from outside")
	}
}

// TestMixed: of two endpoints one has a proxy; it is reached by mutual TLS, the other in plaintext.
func TestMixed(t *testing.T) {
	for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
		t.Run(string(protocol), func(t *testing.T) {
			m := newMesh(t)
			server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Strict: true, Ports: []model.InboundPort{{Port: 8080, Protocol: protocol}}}, nil)
			serve(t, server.listen(t, ":8080"), "meshed")
			outside := m.wire.plug(t, "198.18.9.30", false)
			serve(t, outside.listen(t, ":8080"), "plain")
			s := service{
				name: "s", vip: "198.19.9.1", protocol: protocol, transport: model.Mixed, accounts: []string{"server"},
				endpoints: []model.Endpoint{meshed("198.18.9.11", 8080), plain("198.18.9.30", 8080)},
			}
			from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, s.all(m))
			c, seen := client(from.netns), map[string]int{}
			for range 100 {
				a := get(t, c, "http://198.19.9.1/", nil)
				seen[a.echo.Pod]++
				told := strings.Contains(a.echo.Headers["x-forwarded-client-cert"], "sa/client")
				if a.status != 200 || told != (a.echo.Pod == "meshed") {
					t.Fatalf("%d from %q, told of the client: %v", a.status, a.echo.Pod, told)
				}
			}
			if seen["meshed"] < 20 || seen["plain"] < 20 {
				t.Errorf("shares: %v", seen)
			}
		})
	}
}

// TestHeadless: a pod is reached at its own address by mutual TLS, and only with the right identity.
func TestHeadless(t *testing.T) {
	p := newPair(t, true)
	key := model.PortKey{Service: model.Key{Namespace: "shop", Name: "pg"}, Port: 3306}
	hold := func(account string) {
		t.Helper()
		p.from.hold(t, []envoy.Resource{
			envoy.PodListener(model.PodFrontend{Pod: model.Key{Namespace: "shop", Name: "pg-0"}, Address: "198.18.9.11", Port: 3306, Service: key}),
			envoy.Cluster(model.Backend{Key: key, Protocol: model.TCP, Transport: model.MeshOnly, Direct: true}),
			envoy.PeerSecret(model.Peers{Service: key.Service, Identities: []string{"spiffe://cluster.local/ns/shop/sa/" + account}, Roots: p.m.pki.roots()}),
		})
	}
	hold("server")
	greeted(t, p.from.netns, "198.18.9.11:3306")
	if n := p.from.stat(t, "cluster.direct/shop/pg/3306.ssl.handshake"); n != 1 {
		t.Errorf("%d handshakes, want 1", n)
	}
	hold("other")
	if err := silent(t, p.from.netns, "198.18.9.11:3306"); err == nil {
		t.Error("another identity was accepted")
	}
}
