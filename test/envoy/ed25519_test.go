// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net/http"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
)

// ed25519Leaf is a certificate with an Ed25519 key for a name, of the authority.
func ed25519Leaf(t *testing.T, a *authority, dns string) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "leaf"}, DNSNames: []string{dns}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore:   time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.intermediate, public, a.intermediateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der, a.intermediate.Raw}, PrivateKey: private}
}

// TestEd25519: backends of a BackendTLSPolicy, and clients of a Gateway, may have Ed25519 certificates.
func TestEd25519(t *testing.T) {
	for name, bin := range map[string]string{"current": binary(t), "before": before(t)} {
		t.Run(name, func(t *testing.T) {
			m := newMeshOf(t, bin)
			theirs := newAuthority(t)
			bare := m.wire.plug(t, "198.18.9.21", false)
			server := &http.Server{
				Handler:   http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") }),
				TLSConfig: &tls.Config{Certificates: []tls.Certificate{ed25519Leaf(t, theirs, "web.their.example")}}, ReadHeaderTimeout: time.Minute,
			}
			l := bare.listen(t, ":8443")
			go func() { _ = server.ServeTLS(l, "", "") }()
			t.Cleanup(func() { server.Close() })

			gateway, via := model.Key{Namespace: "shop", Name: "public"}, model.Via{TLS: true}
			s := service{name: "web"}
			served := m.pki.leaf(t, "", "www.example.com")
			const table = "gw/shop/public/443/https"
			resources := concat(envoy.Common(model.Settings{}), []envoy.Resource{
				{TypeURL: envoy.SecretType, Name: "identity", Message: identitySecret(t, m.pki, "spiffe://cluster.local/ns/shop/sa/public-tulle")},
				envoy.TLSSecret(gateway, model.TLSSecret{Key: model.Key{Namespace: "shop", Name: "www"}, Certificate: served.chain, PrivateKey: model.Redacted(served.key)}),
				envoy.GatewayListener(model.GatewayPort{Gateway: gateway, Port: 443, TLS: true, Sections: []model.GatewaySection{{
					Name: "https", Certificates: []model.Key{{Namespace: "shop", Name: "www"}}, Table: table,
					Clients: &model.ClientValidation{Authorities: []model.Key{{Namespace: "shop", Name: "ca"}}},
				}}}),
				envoy.GatewayClients(model.GatewayClients{Gateway: gateway, Port: 443, Certificates: theirs.roots()}),
				envoy.Routes(model.RouteTable{Name: table, Hosts: []model.VirtualHost{{Domains: []string{"*"}, Rules: []model.Rule{
					{Backends: []model.WeightedBackend{{Backend: s.key(), Via: via, Weight: 1}}},
				}}}}),
				envoy.Cluster(model.Backend{Key: s.key(), Protocol: model.HTTP, Transport: model.Plain, Via: via, TLS: &model.BackendTLS{
					Hostname: "web.their.example", Names: []model.AltName{{Value: "web.their.example"}},
				}}),
				envoy.Endpoints(model.Endpoints{Key: s.key(), Via: via, List: []model.Endpoint{plain("198.18.9.21", 8443)}}),
				envoy.BackendCA(model.BackendCA{Key: s.key(), Certificates: theirs.roots()}),
			})
			startProxy(t, m.bin, edge(t, m, "198.18.9.3"), m.ads, "gateway", resources)
			outside := m.wire.plug(t, "198.18.9.30", false)
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM([]byte(m.pki.roots()))
			ordinary := theirs.leaf(t, "", "client.example")
			pair, err := tls.X509KeyPair([]byte(ordinary.chain), []byte(ordinary.key))
			if err != nil {
				t.Fatal(err)
			}
			for kind, cert := range map[string]tls.Certificate{"Ed25519": ed25519Leaf(t, theirs, "client.example"), "P-256": pair} {
				for version, v := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
					c := client(outside)
					c.Transport.(*http.Transport).TLSClientConfig = &tls.Config{
						ServerName: "www.example.com", RootCAs: roots, MaxVersion: v,
						GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
					}
					resp, err := c.Get("https://198.18.9.3/")
					if err != nil {
						t.Errorf("a client with %s, %s: %v", kind, version, err)
						continue
					}
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						t.Errorf("a client with %s, %s, to a backend with Ed25519: %d", kind, version, resp.StatusCode)
					}
				}
			}
		})
	}
}
