// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"crypto/x509"
	"net"
	"net/url"
	"testing"

	"tulle.dev/tulle/internal/names"
)

// TestPrincipalFromCert: what the signer writes is read back; all else is nobody.
func TestPrincipalFromCert(t *testing.T) {
	for _, kind := range []string{names.KindSidecar, names.KindGateway} {
		p := somebody()
		p.Kind = kind
		got, err := PrincipalFromCert(&x509.Certificate{Subject: p.subject(), URIs: []*url.URL{p.uri(domain)}}, domain)
		if err != nil || got != p {
			t.Errorf("got %+v, %v", got, err)
		}
		if p.SPIFFE(domain).String() != p.uri(domain).String() {
			t.Errorf("%s is not %s", p.SPIFFE(domain), p.uri(domain))
		}
	}
	if _, err := PrincipalFromCert(nil, domain); err == nil {
		t.Error("nil is somebody")
	}
	for name, change := range map[string]func(*x509.Certificate){
		"CA":           func(c *x509.Certificate) { c.IsCA = true },
		"no URI":       func(c *x509.Certificate) { c.URIs = nil },
		"two URIs":     func(c *x509.Certificate) { c.URIs = append(c.URIs, c.URIs[0]) },
		"DNS name":     func(c *x509.Certificate) { c.DNSNames = []string{"x"} },
		"IP":           func(c *x509.Certificate) { c.IPAddresses = []net.IP{{1, 2, 3, 4}} },
		"email":        func(c *x509.Certificate) { c.EmailAddresses = []string{"a@b"} },
		"other domain": func(c *x509.Certificate) { c.URIs[0].Host = "other" },
		"other scheme": func(c *x509.Certificate) { c.URIs[0].Scheme = "https" },
		"longer path":  func(c *x509.Certificate) { c.URIs[0].Path += "/x" },
		"query":        func(c *x509.Certificate) { c.URIs[0].RawQuery = "x" },
		"port":         func(c *x509.Certificate) { c.URIs[0].Host += ":80" },
		"no pod":       func(c *x509.Certificate) { c.Subject.CommonName = "" },
		"no uid":       func(c *x509.Certificate) { c.Subject.SerialNumber = "" },
		"no kind":      func(c *x509.Certificate) { c.Subject.OrganizationalUnit = nil },
		"two kinds":    func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{"sidecar", "gateway"} },
		"other kind":   func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{"admin"} },
		"no account":   func(c *x509.Certificate) { c.URIs[0].Path = "/ns/a/sa/" },
		"userinfo":     func(c *x509.Certificate) { c.URIs[0].User = url.User("x") },
		"fragment":     func(c *x509.Certificate) { c.URIs[0].Fragment = "x" },
	} {
		t.Run(name, func(t *testing.T) {
			p := somebody()
			c := &x509.Certificate{Subject: p.subject(), URIs: []*url.URL{p.uri(domain)}}
			change(c)
			if got, err := PrincipalFromCert(c, domain); err == nil {
				t.Errorf("is %+v", got)
			}
		})
	}
}
