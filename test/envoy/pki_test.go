// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"testing"
	"time"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// authority is a root with an intermediate, as the control plane's.
type authority struct {
	root, intermediate       *x509.Certificate
	intermediateKey, rootKey *ecdsa.PrivateKey
	rootPEM, intermediatePEM string
}

// leaf is a certificate with its chain and key, PEM.
type leaf struct{ chain, key string }

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.root, a.rootKey, a.rootPEM = issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "root"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}, nil, nil)
	return a.beside(t)
}

// beside is another intermediate below the same root, of the same name: the next one of a mesh, or another mesh's.
func (a *authority) beside(t *testing.T) *authority {
	t.Helper()
	b := *a
	b.intermediate, b.intermediateKey, b.intermediatePEM = issue(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "intermediate"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign,
		PermittedURIDomains: []string{trustDomain}, PermittedDNSDomainsCritical: true,
	}, a.root, a.rootKey)
	return &b
}

// direct signs with the root itself, as its issuer does for whoever asks it.
func (a *authority) direct() *authority {
	b := *a
	b.intermediate, b.intermediateKey, b.intermediatePEM = a.root, a.rootKey, ""
	return &b
}

func (a *authority) roots() string { return a.rootPEM }

func (a *authority) leaf(t *testing.T, id, dns string) leaf {
	t.Helper()
	tmpl := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "leaf"},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if id != "" {
		u, err := url.Parse(id)
		if err != nil {
			t.Fatal(err)
		}
		tmpl.URIs = []*url.URL{u}
	}
	if dns != "" {
		tmpl.DNSNames = []string{dns}
	}
	_, key, chain := issue(t, tmpl, a.intermediate, a.intermediateKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return leaf{
		chain: chain + a.intermediatePEM,
		key:   string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	}
}

func issue(t *testing.T, tmpl, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	tmpl.SerialNumber = serial
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	tmpl.BasicConstraintsValid = true
	if parent == nil {
		parent, parentKey = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// identitySecret is what the agent serves to its Envoy.
func identitySecret(t *testing.T, a *authority, id string) *tlsv3.Secret {
	t.Helper()
	l := a.leaf(t, id, "")
	return &tlsv3.Secret{Name: "identity", Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: text(l.chain), PrivateKey: text(l.key),
	}}}
}
