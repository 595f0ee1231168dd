// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net/url"
	"strings"
	"testing"
)

// csrOf makes a certificate request that claims another identity, which nobody must believe.
func csrOf(t testing.TB, key crypto.Signer) string {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "admin", SerialNumber: "foreign", OrganizationalUnit: []string{"gateway"}},
		URIs:     []*url.URL{{Scheme: "spiffe", Host: domain, Path: "/ns/kube-system/sa/admin"}},
		DNSNames: []string{"tulle-controlplane.tulle-system.svc"},
	}, key)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
}

// TestPublicKey: which certificate requests are taken, and why the others are not.
func TestPublicKey(t *testing.T) {
	p256 := newKey(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	must(t, err)
	p521, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	must(t, err)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	rsa2048, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	good := csrOf(t, p256)
	block, _ := pem.Decode([]byte(good))
	forged := bytes.Clone(block.Bytes)
	forged[len(forged)-1] ^= 1
	for name, c := range map[string]struct {
		csr  string
		key  crypto.PublicKey
		says string
	}{
		"P-256":          {good, p256.Public(), ""},
		"P-384":          {csrOf(t, p384), p384.Public(), ""},
		"RSA 2048":       {csrOf(t, rsa2048), rsa2048.Public(), ""},
		"P-521":          {csrOf(t, p521), nil, "P-521"},
		"Ed25519":        {csrOf(t, ed), nil, "Ed25519"},
		"RSA 1024":       {rsa1024CSR, nil, "1024 bits"},
		"not PEM":        {"hello", nil, "not PEM"},
		"empty":          {"", nil, "not PEM"},
		"certificate":    {strings.ReplaceAll(good, "CERTIFICATE REQUEST", "CERTIFICATE"), nil, `type "CERTIFICATE"`},
		"two":            {good + good, nil, "more than one"},
		"trailing words": {good + "and more", nil, "more than one"},
		"garbage inside": {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("garbage")})), nil, "csr: "},
		"trailing bytes": {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: append(bytes.Clone(block.Bytes), 0)})), nil, "csr: "},
		"forged":         {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: forged})), nil, "signature"},
	} {
		t.Run(name, func(t *testing.T) {
			key, err := publicKey(c.csr)
			if c.key == nil {
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("got %v, want something of %q", err, c.says)
				}
				return
			}
			must(t, err)
			if !c.key.(interface{ Equal(crypto.PublicKey) bool }).Equal(key) {
				t.Error("got another key")
			}
		})
	}
}

// rsa1024CSR was made with openssl, since Go refuses to make keys so short.
const rsa1024CSR = `-----BEGIN CERTIFICATE REQUEST-----
MIIBSzCBtQIBADAMMQowCAYDVQQDDAF4MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCB
iQKBgQDCyDtmaiujIbBKA4eV+gcI+PcPW6Z1aptzqffzuEsN6M4UaS/RdGFX3S/F
UCu3+2sr/hEfbCWbVgVVbK0mYQio0xZjkgusqLPW4y/zeilDSb+vt5vX0OEtjUjo
tVcdG/sPgtcj6mR5+/rAg4j+e49+LvogKjgthSulDMOcGjZO2QIDAQABoAAwDQYJ
KoZIhvcNAQELBQADgYEAKhU58txLfuzNYVbm0djsnh6CUg5Zk0two/r8IwBUCj6o
nljEZuQMdnSFq48jR5KIsNOfxhXxt5xZ40lojFVfD2mBBwQkri+DaHERWjMEUjs6
p6YvmPcGxXf1TIaVoq2rrVj84E7j/V5LvkuQO2B2DcWrSxOOHyYB739vldenclo=
-----END CERTIFICATE REQUEST-----
`
