// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package health

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
)

func now() time.Time { return time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC) }

// pair is a certificate with its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate for a year around now; a nil issuer signs itself.
func issue(t *testing.T, issuer *pair, name string, change func(*x509.Certificate)) *pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<60))
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now().AddDate(0, -6, 0), NotAfter: now().AddDate(0, 6, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if change != nil {
		change(c)
	}
	parent, signer := c, key
	if issuer != nil {
		parent, signer = issuer.cert, issuer.key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &pair{cert, key}
}

func text(list ...*pair) []byte {
	var out []byte
	for _, p := range list {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.cert.Raw})...)
	}
	return out
}

// TestReadAuthority is the table of what an issuer may have issued.
func TestReadAuthority(t *testing.T) {
	root := issue(t, nil, "root", nil)
	limited := issue(t, nil, "limited", func(c *x509.Certificate) { c.MaxPathLenZero = true })
	deep := issue(t, nil, "deep", func(c *x509.Certificate) { c.MaxPathLen = 1 })
	middle := issue(t, deep, "middle", nil)
	foreign := issue(t, nil, "foreign", func(c *x509.Certificate) { c.PermittedURIDomains = []string{"other.example"} })
	excluding := issue(t, nil, "excluding", func(c *x509.Certificate) { c.ExcludedURIDomains = []string{".example.org"} })
	good := issue(t, root, "good", func(c *x509.Certificate) { c.PermittedURIDomains = []string{"mesh.example.org"} })
	leaf := issue(t, root, "leaf", func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature })
	noSign := issue(t, root, "no sign", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature })
	ended := issue(t, root, "ended", func(c *x509.Certificate) { c.NotAfter = now().Add(-time.Hour) })

	for name, c := range map[string]struct {
		tls, ca []byte
		reason  string // empty: good
		words   string
	}{
		"good":                   {text(good), text(root), "", ""},
		"chain without ca.crt":   {text(good, root), nil, "", ""},
		"two levels":             {text(issue(t, issue(t, root, "b", nil), "a", nil), root), text(root), v1alpha1.ReasonCertificateInvalid, "does not hang"},
		"no authority":           {text(leaf), text(root), v1alpha1.ReasonIssuerCannotSignCA, "isCA was not honoured"},
		"may not sign":           {text(noSign), text(root), v1alpha1.ReasonIssuerCannotSignCA, "no authority"},
		"ended":                  {text(ended), text(root), v1alpha1.ReasonCertificateExpired, "not renewed"},
		"no ca":                  {text(good), nil, v1alpha1.ReasonCertificateInvalid, "ca.crt is empty"},
		"another ca":             {text(good), text(deep), v1alpha1.ReasonCertificateInvalid, "does not hang"},
		"path length 0":          {text(issue(t, limited, "a", nil)), text(limited), v1alpha1.ReasonIssuerCannotSignCA, `"limited" is 0, but must be at least 1`},
		"path length 1, 1 below": {text(issue(t, deep, "a", nil)), text(deep), "", ""},
		"path length 1, 2 below": {text(issue(t, middle, "a", nil), middle), text(deep), v1alpha1.ReasonIssuerCannotSignCA, `"deep" is 1, but must be at least 2`},
		"another trust domain":   {text(issue(t, foreign, "a", nil)), text(foreign), v1alpha1.ReasonIssuerCannotSignCA, "permits only other.example"},
		"excluded trust domain":  {text(issue(t, excluding, "a", nil)), text(excluding), v1alpha1.ReasonIssuerCannotSignCA, `"excluding" excludes it`},
		"nothing":                {[]byte("no PEM"), text(root), v1alpha1.ReasonCertificateInvalid, "no certificate in tls.crt"},
		"garbage": {
			pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("garbage")}), text(root),
			v1alpha1.ReasonCertificateInvalid, "no certificate in tls.crt",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a, v := ReadAuthority(CertificateFacts{TLSCrt: c.tls, CACrt: c.ca}, "mesh.example.org", "the issuer", now())
			if c.reason == "" {
				if v != nil || len(a.Roots) != 1 {
					t.Errorf("got %+v, %d roots", v, len(a.Roots))
				}
				return
			}
			if v == nil || v.Reason != c.reason || !strings.Contains(v.Message, c.words) {
				t.Errorf("want %s with %q, got %+v", c.reason, c.words, v)
			}
		})
	}
}
