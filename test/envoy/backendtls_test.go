// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
)

// secured answers over TLS on port 8443 with the server name it was asked for and the client's certificate.
func secured(t *testing.T, ns *netns, own leaf, clients tls.ClientAuthType, from *authority) {
	t.Helper()
	cert, err := tls.X509KeyPair([]byte(own.chain), []byte(own.key))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(from.root)
	s := &http.Server{
		ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), // clients that refuse it are what is tested
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: clients, ClientCAs: pool, MinVersion: tls.VersionTLS12},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who := "nobody"
			if len(r.TLS.PeerCertificates) > 0 {
				who = r.TLS.PeerCertificates[0].DNSNames[0]
			}
			fmt.Fprintf(w, `{"path": %q, "host": "%s %s"}`, r.URL.Path, r.TLS.ServerName, who)
		}),
	}
	l := ns.listen(t, ":8443")
	go func() { _ = s.ServeTLS(l, "", "") }() // ends with the test's network
	t.Cleanup(func() { _ = s.Close() })
}

// edge makes a namespace in which a gateway's proxy may bind low ports.
func edge(t *testing.T, m *mesh, ip string) *netns {
	t.Helper()
	ns := m.wire.plug(t, ip, false)
	if err := ns.in(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0) }); err != nil {
		t.Fatal(err)
	}
	return ns
}

// TestBackendTLS: a gateway begins TLS with endpoints that have no proxy, checks them as the policy says,
// shows its own certificate where it has one, and sends nothing where it can't check.
func TestBackendTLS(t *testing.T) {
	m := newMesh(t)
	theirs, foreign := newAuthority(t).direct(), newAuthority(t).direct() // without the name constraint of a mesh's
	server := m.wire.plug(t, "198.18.9.21", false)
	secured(t, server, theirs.leaf(t, "spiffe://their.example/web", "web.their.example"), tls.NoClientCert, theirs)
	strict := m.wire.plug(t, "198.18.9.22", false)
	secured(t, strict, theirs.leaf(t, "", "strict.example"), tls.RequireAndVerifyClientCert, theirs)
	ns := edge(t, m, "198.18.9.3")

	gateway := model.Key{Namespace: "shop", Name: "public"}
	shown := theirs.leaf(t, "", "gateway.example")
	secret := model.TLSSecret{Key: model.Key{Namespace: "shop", Name: "client"}, Certificate: shown.chain, PrivateKey: model.Redacted(shown.key)}
	dns := func(names ...string) (out []model.AltName) {
		for _, n := range names {
			out = append(out, model.AltName{Value: n})
		}
		return out
	}
	var resources []envoy.Resource
	var rules []model.Rule
	cases := []struct {
		name     string
		ip       string
		tls      model.BackendTLS
		roots    *authority
		own      bool
		protocol model.Protocol
		status   int
		host     string
	}{
		{"name", "198.18.9.21", model.BackendTLS{Hostname: "web.their.example", Names: dns("web.their.example")}, theirs, false, model.HTTP, 200, "web.their.example nobody"},
		{"http2", "198.18.9.21", model.BackendTLS{Hostname: "web.their.example", Names: dns("web.their.example")}, theirs, false, model.HTTP2, 200, "web.their.example nobody"},
		{"wildcard", "198.18.9.21", model.BackendTLS{Hostname: "sni.example", Names: dns("*.their.example")}, theirs, false, model.HTTP, 200, "sni.example nobody"},
		{"uri", "198.18.9.21", model.BackendTLS{Hostname: "sni.example", Names: []model.AltName{{Value: "no.example"}, {URI: true, Value: "spiffe://their.example/web"}}}, theirs, false, model.HTTP, 200, "sni.example nobody"},
		{"other-name", "198.18.9.21", model.BackendTLS{Hostname: "web.their.example", Names: dns("other.example")}, theirs, false, model.HTTP, 503, ""},
		{"other-uri", "198.18.9.21", model.BackendTLS{Hostname: "web.their.example", Names: []model.AltName{{URI: true, Value: "spiffe://their.example/other"}}}, theirs, false, model.HTTP, 503, ""},
		{"deeper-wildcard", "198.18.9.21", model.BackendTLS{Hostname: "web.their.example", Names: dns("*.example")}, theirs, false, model.HTTP, 503, ""},
		{"other-authority", "198.18.9.21", model.BackendTLS{Hostname: "web.their.example", Names: dns("web.their.example")}, foreign, false, model.HTTP, 503, ""},
		{"unusable", "198.18.9.21", model.BackendTLS{Unusable: true}, nil, false, model.HTTP, 503, ""},
		{"own-certificate", "198.18.9.22", model.BackendTLS{Hostname: "strict.example", Names: dns("strict.example")}, theirs, true, model.HTTP, 200, "strict.example gateway.example"},
		{"no-certificate", "198.18.9.22", model.BackendTLS{Hostname: "strict.example", Names: dns("strict.example")}, theirs, false, model.HTTP, 503, ""},
	}
	for _, c := range cases {
		s := service{name: c.name}
		b := model.Backend{Key: s.key(), Protocol: c.protocol, Transport: model.Plain, Via: model.Via{TLS: true}, TLS: &c.tls}
		if c.own {
			b.Via.Gateway, b.ClientCertificate = gateway, secret.Key
		}
		resources = append(resources, envoy.Cluster(b), envoy.Endpoints(model.Endpoints{Key: s.key(), Via: b.Via, List: []model.Endpoint{plain(c.ip, 8443)}}))
		if c.roots != nil {
			resources = append(resources, envoy.BackendCA(model.BackendCA{Key: s.key(), Certificates: c.roots.roots()}))
		} else {
			resources = append(resources, envoy.PeerSecret(model.Peers{Service: s.key().Service, Roots: m.pki.roots()}))
		}
		rules = append(rules, model.Rule{Match: prefix("/" + c.name), Backends: []model.WeightedBackend{{Backend: s.key(), Via: b.Via, Weight: 1}}})
	}
	startProxy(t, m.bin, ns, m.ads, "gateway", concat(envoy.Common(model.Settings{}), resources, []envoy.Resource{
		{TypeURL: envoy.SecretType, Name: "identity", Message: identitySecret(t, m.pki, "spiffe://cluster.local/ns/shop/sa/public-tulle")},
		envoy.TLSSecret(gateway, secret),
		envoy.GatewayListener(model.GatewayPort{Gateway: gateway, Port: 80, Sections: []model.GatewaySection{{Table: "gw/shop/public/80"}}}),
		envoy.Routes(model.RouteTable{Name: "gw/shop/public/80", Hosts: []model.VirtualHost{{Domains: []string{"*"}, Rules: rules}}}),
	}))
	outside := m.wire.plug(t, "198.18.9.30", false)
	for _, c := range cases {
		a := get(t, client(outside), "http://198.18.9.3/"+c.name, nil)
		if a.status != c.status || a.echo.Host != c.host {
			t.Errorf("%s: status %d, %q: %s", c.name, a.status, a.echo.Host, a.body)
		}
	}
}

// TestGatewayClients: a listener serves clients with a certificate of its authorities only, or, where it
// is told to, all of them; a session is not resumed past the check.
func TestGatewayClients(t *testing.T) {
	m := newMesh(t)
	ours, foreign := newAuthority(t), newAuthority(t)
	ns := edge(t, m, "198.18.9.3")
	gateway := model.Key{Namespace: "shop", Name: "public"}
	served := m.pki.leaf(t, "", "www.example.com")
	resources := concat(envoy.Common(model.Settings{}), []envoy.Resource{
		{TypeURL: envoy.SecretType, Name: "identity", Message: identitySecret(t, m.pki, "spiffe://cluster.local/ns/shop/sa/public-tulle")},
		envoy.TLSSecret(gateway, model.TLSSecret{Key: model.Key{Namespace: "shop", Name: "www"}, Certificate: served.chain, PrivateKey: model.Redacted(served.key)}),
	})
	for _, port := range []uint16{443, 8443} {
		table := fmt.Sprintf("gw/shop/public/%d/https", port)
		check := &model.ClientValidation{Authorities: []model.Key{{Namespace: "shop", Name: "ca"}}, Optional: port == 8443}
		resources = append(resources,
			envoy.GatewayListener(model.GatewayPort{Gateway: gateway, Port: port, TLS: true, Sections: []model.GatewaySection{
				{Name: "https", Certificates: []model.Key{{Namespace: "shop", Name: "www"}}, Clients: check, Table: table},
			}}),
			envoy.GatewayClients(model.GatewayClients{Gateway: gateway, Port: port, Certificates: ours.roots(), Optional: check.Optional}),
			envoy.Routes(model.RouteTable{Name: table, Hosts: []model.VirtualHost{{Domains: []string{"*"}, Rules: []model.Rule{
				{Redirect: &model.Redirect{StatusCode: 302, Hostname: "served.example", Port: 443}},
			}}}}),
		)
	}
	startProxy(t, m.bin, ns, m.ads, "gateway", resources)
	outside := m.wire.plug(t, "198.18.9.30", false)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(m.pki.roots()))
	good, bad := ours.leaf(t, "", "client.example"), foreign.leaf(t, "", "client.example")
	for _, c := range []struct {
		name   string
		port   int
		shown  *leaf
		served bool
	}{
		{"a good certificate", 443, &good, true},
		{"another authority's", 443, &bad, false},
		{"none", 443, nil, false},
		{"a good certificate, optional", 8443, &good, true},
		{"another authority's, optional", 8443, &bad, true},
		{"none, optional", 8443, nil, true},
	} {
		config := &tls.Config{ServerName: "www.example.com", RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(8)}
		if c.shown != nil {
			cert, err := tls.X509KeyPair([]byte(c.shown.chain), []byte(c.shown.key))
			if err != nil {
				t.Fatal(err)
			}
			// Whatever authorities the listener names: the test's certificate is shown in any case.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
		}
		for range 2 { // the second time a session would be resumed
			conn, _ := dialFrom(t, outside, fmt.Sprintf("198.18.9.3:%d", c.port))
			tc := tls.Client(conn, config)
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			served, resumed := false, false
			if _, err := fmt.Fprintf(tc, "GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n"); err == nil {
				answer := make([]byte, 12)
				n, _ := tc.Read(answer)
				served, resumed = string(answer[:n]) == "HTTP/1.1 302", tc.ConnectionState().DidResume
			}
			if served != c.served || resumed {
				t.Errorf("%s: served %v, resumed %v", c.name, served, resumed)
			}
		}
	}
}
