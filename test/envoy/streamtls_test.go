// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"crypto/tls"
	"crypto/x509"
	"testing"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// TestStreamsToBackendTLS: what comes to a listener that ends TLS is sent on by TLS again to a backend with a
// policy: with its server name, no protocol of HTTP offered, and the certificate checked and shown.
func TestStreamsToBackendTLS(t *testing.T) {
	s := newStage(t)
	theirs, foreign := newAuthority(t).direct(), newAuthority(t).direct()
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM([]byte(theirs.roots()))
	leaf := theirs.leaf(t, "", "db.their.example")
	own, err := tls.X509KeyPair([]byte(leaf.chain), []byte(leaf.key))
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan tls.ClientHelloInfo, 16)
	config := &tls.Config{
		Certificates: []tls.Certificate{own}, ClientCAs: trusted, ClientAuth: tls.RequireAndVerifyClientCert,
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			seen <- *h
			return nil, nil
		},
	}
	banner(t, tls.NewListener(s.apps.listen(t, ":7001"), config), "db")
	shown := theirs.leaf(t, "", "gateway.example")
	certificate := model.TLSSecret{Key: model.Key{Namespace: "shop", Name: "client"}, Certificate: shown.chain, PrivateKey: model.Redacted(shown.key)}
	via := model.Via{TLS: true, Gateway: s.key}
	resources := s.resources("", nil)
	port := model.GatewayPort{Port: 443, TLS: true}
	for _, c := range []struct {
		name  string
		roots *authority
	}{{"good", theirs}, {"foreign", foreign}} {
		key := model.PortKey{Service: model.Key{Namespace: "shop", Name: c.name}, Port: 80}
		resources = append(resources,
			envoy.Cluster(model.Backend{
				Key: key, As: names.AsBytes, Protocol: model.TCP, Transport: model.Plain, Via: via, ClientCertificate: certificate.Key,
				TLS: &model.BackendTLS{Hostname: "db.their.example", Names: []model.AltName{{Value: "db.their.example"}}, Authorities: []model.Key{{Name: "any"}}},
			}),
			envoy.Endpoints(model.Endpoints{Key: key, As: names.AsBytes, Via: via, List: []model.Endpoint{plain("198.18.9.50", 7001)}}),
			envoy.BackendCA(model.BackendCA{Key: key, Certificates: c.roots.roots()}))
		to := share(c.name, names.AsBytes, 1)
		to.Via = via
		port.Sections = append(port.Sections, model.GatewaySection{
			Name: c.name, Hostname: c.name + ".example.com", Certificates: []model.Key{{Namespace: "shop", Name: "cert"}}, Bytes: true, Table: "gw/shop/public/443/" + c.name,
			Streams: []model.Stream{stream(c.name, []string{c.name + ".example.com"}, to)},
		})
	}
	s.update(t, append(append(resources, envoy.TLSSecret(s.key, certificate)), s.resources("", nil, port)[len(envoy.Common(model.Settings{})):]...))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.pki.roots()))
	if _, _, who, err := s.hello(t, "443", "good.example.com", roots); err != nil || who != "220 db" {
		t.Fatalf("%q, %v", who, err)
	}
	if h := <-seen; h.ServerName != "db.their.example" || len(h.SupportedProtos) > 0 {
		t.Errorf("server name %q, protocols %q", h.ServerName, h.SupportedProtos)
	}
	c, r := dialFrom(t, s.outside, "198.18.9.3:443")
	tc := tls.Client(c, &tls.Config{ServerName: "foreign.example.com", RootCAs: roots})
	if err := tc.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = r
	if n, err := tc.Read(make([]byte, 10)); err == nil {
		t.Errorf("a backend with a certificate of another authority sends %d bytes", n)
	}
}
