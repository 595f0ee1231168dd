// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
)

// TestGateway: from outside, over HTTP and HTTPS, through a gateway's proxy to a meshed pod.
func TestGateway(t *testing.T) {
	m := newMesh(t)
	server := m.sidecar(t, "server", "198.18.9.11", model.Inbound{Strict: true, Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}, nil)
	serve(t, server.listen(t, ":8080"), "server")
	ns := m.wire.plug(t, "198.18.9.3", false)
	if err := ns.in(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0) }); err != nil {
		t.Fatal(err)
	}
	web := service{name: "web", protocol: model.HTTP, accounts: []string{"server"}, endpoints: []model.Endpoint{meshed("198.18.9.11", 8080)}}
	key := model.Key{Namespace: "shop", Name: "public"}
	leaf := m.pki.leaf(t, "", "www.example.com")
	hosts := []model.VirtualHost{{Domains: []string{"www.example.com"}, Rules: []model.Rule{{Match: prefix("/api"), Backends: []model.WeightedBackend{web.to(1)}}}}}
	startProxy(t, m.bin, ns, m.ads, "gateway", concat(envoy.Common(model.Settings{}), web.backend(m), []envoy.Resource{
		{TypeURL: envoy.SecretType, Name: "identity", Message: identitySecret(t, m.pki, "spiffe://cluster.local/ns/shop/sa/public-tulle")},
		envoy.GatewayListener(model.GatewayPort{Gateway: key, Port: 80, Sections: []model.GatewaySection{{Name: "http", Table: "gw/shop/public/80"}}}),
		envoy.GatewayListener(model.GatewayPort{Gateway: key, Port: 443, TLS: true, Sections: []model.GatewaySection{
			{Name: "https", Hostname: "www.example.com", Certificates: []model.Key{{Namespace: "shop", Name: "www"}}, Table: "gw/shop/public/443/https"},
		}}),
		envoy.Routes(model.RouteTable{Name: "gw/shop/public/80", Hosts: hosts}),
		envoy.Routes(model.RouteTable{Name: "gw/shop/public/443/https", Hosts: hosts}),
		envoy.TLSSecret(key, model.TLSSecret{Key: model.Key{Namespace: "shop", Name: "www"}, Certificate: leaf.chain, PrivateKey: model.Redacted(leaf.key)}),
	}))
	outside := m.wire.plug(t, "198.18.9.30", false)
	forge := func(r *http.Request) {
		r.Host = "www.example.com"
		r.Header.Set("X-Forwarded-Client-Cert", "URI=spiffe://cluster.local/ns/shop/sa/forged")
		r.Header.Set("X-Forwarded-For", "203.0.113.9")
		r.Header.Set("X-Envoy-Retry-On", "5xx")
		r.Header.Set("X-Envoy-Original-Path", "/forged")
	}
	a := get(t, client(outside), "http://198.18.9.3/x/../api/./y?q=1", forge)
	if a.status != 200 || a.echo.Path != "/api/y?q=1" || a.echo.Host != "www.example.com" {
		t.Errorf("status %d, path %q, host %q: %s", a.status, a.echo.Path, a.echo.Host, a.body)
	}
	h := a.echo.Headers
	if !strings.Contains(h["x-forwarded-client-cert"], "sa/public-tulle") || strings.Contains(h["x-forwarded-client-cert"], "forged") {
		t.Errorf("the application is told %q", h["x-forwarded-client-cert"])
	}
	if h["x-forwarded-for"] != "203.0.113.9,198.18.9.30" || h["x-forwarded-proto"] != "http" {
		t.Errorf("X-Forwarded-For %q, -Proto %q", h["x-forwarded-for"], h["x-forwarded-proto"])
	}
	for _, name := range []string{"x-envoy-retry-on", "x-envoy-original-path"} {
		if h[name] != "" {
			t.Errorf("%s came through: %q", name, h[name])
		}
	}
	for k := range a.headers {
		if strings.HasPrefix(strings.ToLower(k), "x-envoy") {
			t.Errorf("the client gets %s", k)
		}
	}
	if a := get(t, client(outside), "http://198.18.9.3/api", func(r *http.Request) { r.Host = "other.example" }); a.status != 404 {
		t.Errorf("another host: status %d", a.status)
	}

	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(m.pki.roots()))
	c, _ := dialFrom(t, outside, "198.18.9.3:443")
	tc := tls.Client(c, &tls.Config{ServerName: "www.example.com", RootCAs: roots, NextProtos: []string{"h2"}})
	h2 := &http.Transport{ForceAttemptHTTP2: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return tc, tc.HandshakeContext(ctx) }}
	a, err := ask(t.Context(), &http.Client{Transport: h2}, http.MethodGet, "https://www.example.com/api", nil)
	if err != nil || a.status != 200 || a.echo.Headers["x-forwarded-proto"] != "https" || tc.ConnectionState().NegotiatedProtocol != "h2" {
		t.Errorf("HTTPS: %v, status %d, %v", err, a.status, a.echo.Headers)
	}
	c, _ = dialFrom(t, outside, "198.18.9.3:443")
	if err := tls.Client(c, &tls.Config{ServerName: "other.example", RootCAs: roots}).HandshakeContext(t.Context()); err == nil {
		t.Error("a server name that no listener has was served")
	}
}
