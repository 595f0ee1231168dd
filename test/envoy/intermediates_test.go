// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// trust has a pod's proxy require other anchors, as a server and as a client of the services.
func (p *pod) trust(t *testing.T, m *mesh, anchors string, services ...service) {
	t.Helper()
	m.anchors = anchors
	i := slices.IndexFunc(p.own, func(r envoy.Resource) bool { return r.Name == names.Trust })
	p.own[i] = envoy.TrustSecret(m.trusted(), trustDomain)
	var out []envoy.Resource
	for _, s := range services {
		out = append(out, s.all(m)...)
	}
	p.hold(t, out)
}

const (
	clientID = "spiffe://cluster.local/ns/shop/sa/client"
	serverID = "spiffe://cluster.local/ns/shop/sa/server"
)

// forgeries are certificates with a name of the mesh that its root stands behind and that the mesh did not sign.
func (m *mesh) forgeries(t *testing.T, id string) map[string]leaf {
	t.Helper()
	direct, other := m.pki.direct(), m.pki.beside(t)
	appended := direct.leaf(t, id, "")
	appended.chain += m.pki.intermediatePEM
	rooted := direct.leaf(t, id, "")
	rooted.chain += m.pki.rootPEM
	below := *other
	below.intermediate, below.intermediateKey, below.intermediatePEM = issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "below"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
	}, other.intermediate, other.intermediateKey)
	below.intermediatePEM += other.intermediatePEM
	return map[string]leaf{
		"signed by the root":                               direct.leaf(t, id, ""),
		"signed by the root, with the root":                rooted,
		"signed by the root, with the mesh's intermediate": appended,
		"signed by another mesh below the same root":       other.leaf(t, id, ""),
		"signed by an authority below another mesh":        below.leaf(t, id, ""),
	}
}

// TestOwnIntermediates: with the mesh's intermediates as trusted_ca, both Envoys refuse, as a server, every
// certificate that another one asked the issuer of the root for, and two meshes below one root are two
// meshes. With roots, as in release 0.2.0, they accept it.
func TestOwnIntermediates(t *testing.T) {
	for name, bin := range map[string]string{"current": binary(t), "before": before(t)} {
		t.Run(name, func(t *testing.T) {
			m := newMeshOf(t, bin)
			web := service{name: "http", vip: "198.19.9.1", protocol: model.HTTP, accounts: []string{"server"}, endpoints: []model.Endpoint{meshed("198.18.9.11", 8080)}}
			p := &pair{m: m, http: web}
			p.to = m.sidecar(t, "server", "198.18.9.11", model.Inbound{Strict: true, Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, nil)
			p.app = serve(t, p.to.listen(t, ":8080"), "server")
			p.from = m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, web.all(m))
			outside := m.wire.plug(t, "198.18.9.30", false)
			forged := m.forgeries(t, clientID)
			for what, l := range forged {
				if err := hello(t, p, outside, with(t, meshHello(), l)); err != nil {
					t.Errorf("%s: refused although only roots are known, so the test proves nothing: %v", what, err)
				}
			}
			if a := get(t, client(p.from.netns), "http://198.19.9.1/x", nil); a.status != 200 {
				t.Fatalf("status %d: %s", a.status, a.body)
			}
			asked := p.app.asked.Load()

			next := m.pki.beside(t)
			both := m.pki.intermediatePEM + next.intermediatePEM
			p.to.trust(t, m, both)
			for what, l := range forged {
				if err := hello(t, p, outside, with(t, meshHello(), l)); err == nil {
					t.Errorf("%s: was served", what)
				}
			}
			if n := p.app.asked.Load(); n != asked {
				t.Errorf("the application was asked %d times by forged clients", n-asked)
			}
			// Both intermediates count, whatever their order, although they have one name.
			for what, a := range map[string]*authority{"the intermediate": m.pki, "the next one": next} {
				if err := hello(t, p, outside, with(t, meshHello(), a.leaf(t, clientID, ""))); err != nil {
					t.Errorf("a client that %s signed: %v", what, err)
				}
			}
			if err := hello(t, p, outside, with(t, meshHello(), m.pki.leaf(t, "spiffe://other.domain/ns/shop/sa/client", ""))); err == nil {
				t.Error("the name constraint of an intermediate does not count any more")
			}
			// Proxies that know only roots and those that require intermediates understand each other.
			p.from.trust(t, m, "", web)
			if a := get(t, client(p.from.netns), "http://198.19.9.1/x", nil); a.status != 200 {
				t.Errorf("a client that knows only roots: status %d: %s", a.status, a.body)
			}
			p.from.trust(t, m, both, web)
			if a := get(t, client(p.from.netns), "http://198.19.9.1/x", nil); a.status != 200 {
				t.Errorf("a client that requires intermediates: status %d: %s", a.status, a.body)
			}
			// An intermediate that is no longer listed does not count.
			p.to.trust(t, m, next.intermediatePEM)
			if err := hello(t, p, outside, with(t, meshHello(), m.pki.leaf(t, clientID, ""))); err == nil {
				t.Error("a former intermediate counts")
			}
		})
	}
}

// TestForgedServer: both Envoys refuse, as a client, a server with a forged certificate of the Service's
// identity; with roots they send it the request.
func TestForgedServer(t *testing.T) {
	for name, bin := range map[string]string{"current": binary(t), "before": before(t)} {
		t.Run(name, func(t *testing.T) {
			m := newMeshOf(t, bin)
			cart := service{name: "http", vip: "198.19.9.1", protocol: model.HTTP, accounts: []string{"server"}, endpoints: []model.Endpoint{meshed("198.18.9.11", 8080)}}
			from := m.sidecar(t, "client", "198.18.9.2", model.Inbound{}, cart.all(m))
			l := m.wire.plug(t, "198.18.9.11", false).listen(t, ":8080")
			var present atomic.Pointer[leaf]
			go impostor(t, l, &present)
			try := func(l leaf) int {
				t.Helper()
				// A connection that stands was checked when it was made.
				from.hold(t, nil)
				from.hold(t, cart.all(m))
				present.Store(&l)
				return get(t, client(from.netns), "http://198.19.9.1/x", nil).status
			}
			forged := m.forgeries(t, serverID)
			for what, l := range forged {
				if status := try(l); status != http.StatusTeapot {
					t.Errorf("%s: status %d although only roots are known; the test proves nothing", what, status)
				}
			}
			from.trust(t, m, m.pki.intermediatePEM, cart)
			for what, l := range forged {
				if status := try(l); status != http.StatusServiceUnavailable {
					t.Errorf("%s: status %d, want 503", what, status)
				}
			}
			if status := try(m.pki.leaf(t, serverID, "")); status != http.StatusTeapot {
				t.Errorf("the server itself: status %d", status)
			}
		})
	}
}

// impostor serves HTTP/2 with a certificate that it is given, and says that it is no application.
func impostor(t *testing.T, l net.Listener, present *atomic.Pointer[leaf]) {
	server := http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	})}
	server.Protocols.SetUnencryptedHTTP2(true) // what TLS was negotiated for is not looked at
	_ = server.Serve(unnegotiated{tls.NewListener(l, &tls.Config{
		ClientAuth: tls.RequestClientCert, NextProtos: []string{names.ALPNHTTP},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := tls.X509KeyPair([]byte(present.Load().chain), []byte(present.Load().key))
			if err != nil {
				t.Error(err)
			}
			return &cert, err
		},
	})})
}

// unnegotiated hides from net/http that its connections are TLS, whose protocol has a name that it does not know.
type unnegotiated struct{ net.Listener }

func (l unnegotiated) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return struct{ net.Conn }{c}, err
}

// TestHandshakeCost: a chain that ends in an intermediate takes a server's Envoy no more processor time than
// one that ends in a root.
func TestHandshakeCost(t *testing.T) {
	p := newPair(t, true)
	outside := p.m.wire.plug(t, "198.18.9.30", false)
	l := p.m.pki.leaf(t, clientID, "")
	measure := func() int {
		before := ticks(t, p.to.pid)
		for range 150 {
			if err := hello(t, p, outside, with(t, meshHello(), l)); err != nil {
				t.Fatal(err)
			}
		}
		return ticks(t, p.to.pid) - before
	}
	both := p.m.pki.intermediatePEM + p.m.pki.beside(t).intermediatePEM
	roots, intermediates := 0, 0
	for range 3 {
		p.to.trust(t, p.m, "")
		roots += measure()
		p.to.trust(t, p.m, both)
		intermediates += measure()
	}
	t.Logf("450 handshakes with a request: %d0 ms of processor time with roots, %d0 ms with intermediates", roots, intermediates)
	if intermediates > roots*3/2 {
		t.Errorf("%d ticks instead of %d", intermediates, roots)
	}
}

// ticks is the processor time that a process has used, in hundredths of a second.
func ticks(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')'):])) // ") S ppid ...", the 3rd field first
	user, err := strconv.Atoi(f[12])
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := strconv.Atoi(f[13])
	if err != nil {
		t.Fatal(err)
	}
	return user + kernel
}
