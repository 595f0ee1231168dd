// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/url"
	"testing"
	"time"
)

const serverName = "tulle-controlplane.tulle-system.svc"

// listen accepts connections with config and says over each who the peer is.
func listen(t *testing.T, config *tls.Config) string {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", config)
	must(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go greet(c.(*tls.Conn))
		}
	}()
	return l.Addr().String()
}

func greet(c *tls.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if c.Handshake() != nil {
		return
	}
	if peers := c.ConnectionState().PeerCertificates; len(peers) > 0 {
		fmt.Fprint(c, peers[0].Subject.CommonName)
		return
	}
	fmt.Fprint(c, "anonymous")
}

// greeting connects and returns what the server says. With TLS 1.3 a server's refusal of the client
// certificate arrives at the first read.
func greeting(addr string, config *tls.Config) (string, error) {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", addr, config)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	b, err := io.ReadAll(c)
	return string(b), err
}

// pair signs a client certificate with any issuer, also one that Tulle would not use.
func pair(t *testing.T, by *authority, now time.Time, change func(*x509.Certificate)) *tls.Certificate {
	t.Helper()
	p := somebody()
	leaf := certify(t, by, "leaf", now.Add(-time.Minute), now.Add(time.Hour), func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = false, x509.KeyUsageDigitalSignature
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		c.Subject, c.URIs = p.subject(), []*url.URL{p.uri(domain)}
		if change != nil {
			change(c)
		}
	})
	return &tls.Certificate{Certificate: [][]byte{leaf.cert.Raw, by.cert.Raw}, PrivateKey: leaf.key}
}

// TestServerTLS: who gets a handshake on the ADS port.
func TestServerTLS(t *testing.T) {
	m := newMesh(t)
	now := m.clock.now
	addr := listen(t, m.authority.ServerTLS())
	stranger := certify(t, nil, "stranger", now.Add(-time.Hour), now.Add(1000*time.Hour), nil)
	loose := certify(t, m.root, "unconstrained", now.Add(-time.Hour), now.Add(100*time.Hour), nil)
	for name, c := range map[string]struct {
		cert *tls.Certificate
		max  uint16
		ok   bool
	}{
		"workload":       {cert: pair(t, m.inter, now, nil), ok: true},
		"nobody":         {},
		"TLS 1.2":        {cert: pair(t, m.inter, now, nil), max: tls.VersionTLS12},
		"stranger":       {cert: pair(t, stranger, now, nil)},
		"foreign domain": {cert: pair(t, loose, now, func(c *x509.Certificate) { c.URIs[0].Host = "other.example" })},
		"constraint":     {cert: pair(t, m.inter, now, func(c *x509.Certificate) { c.URIs[0].Host = "other.example" })},
		"no identity":    {cert: pair(t, m.inter, now, func(c *x509.Certificate) { c.URIs = nil })},
		"expired":        {cert: pair(t, m.inter, now.Add(-2*time.Hour), nil)},
		"server only":    {cert: pair(t, m.inter, now, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })},
	} {
		t.Run(name, func(t *testing.T) {
			config := &tls.Config{ServerName: serverName, RootCAs: pool(m.root.cert), Time: m.clock.Now, MaxVersion: c.max}
			if c.cert != nil {
				config.Certificates = []tls.Certificate{*c.cert}
			}
			got, err := greeting(addr, config)
			if c.ok != (err == nil && got == "web-1") {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}

	// A client certificate of a new root is taken as soon as that root is active, with the same listener.
	second := certify(t, nil, "second root", now.Add(-time.Minute), now.Add(1000*time.Hour), nil)
	inter := certify(t, second, "second intermediate", now.Add(-time.Minute), now.Add(100*time.Hour), constrained(domain))
	config := &tls.Config{ServerName: serverName, RootCAs: pool(m.root.cert), Time: m.clock.Now, Certificates: []tls.Certificate{*pair(t, inter, now, nil)}}
	if got, err := greeting(addr, config); err == nil {
		t.Errorf("an inactive root was trusted: %q", got)
	}
	m.putAuthority(second, inter)
	m.authority.Reload()
	config.RootCAs = pool(m.root.cert, second.cert)
	if got, err := greeting(addr, config); err != nil || got != "web-1" {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestPublicTLS: the signing port and the webhook need no client certificate, and their own chains
// to the roots under every name of the Service, through the name constraint.
func TestPublicTLS(t *testing.T) {
	m := newMesh(t)
	addr := listen(t, m.authority.PublicTLS())
	for _, name := range []string{serverName, serverName + ".cluster.local"} {
		got, err := greeting(addr, &tls.Config{ServerName: name, RootCAs: pool(m.root.cert), Time: m.clock.Now})
		if err != nil || got != "anonymous" {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	if got, err := greeting(addr, &tls.Config{ServerName: "other.svc", RootCAs: pool(m.root.cert), Time: m.clock.Now}); err == nil {
		t.Errorf("served under a foreign name: %q", got)
	}
}

// TestServingCertificateIsRenewed: at half its life, and when the intermediate changes.
func TestServingCertificateIsRenewed(t *testing.T) {
	m := newMesh(t)
	first := m.authority.own
	m.authority.Reload()
	if m.authority.own != first {
		t.Error("renewed without a reason")
	}
	m.clock.now = m.clock.now.Add(servingLifetime/2 + time.Minute)
	m.authority.Reload()
	second := m.authority.own
	if second == first || !second.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Error("not renewed at half its life")
	}
	m.putAuthority(m.root, certify(t, m.root, "renewed", m.clock.now, m.clock.now.Add(100*time.Hour), constrained(domain)))
	m.authority.Reload()
	if m.authority.own == second {
		t.Error("not renewed with the intermediate")
	}
}

// TestNotReadyTLS: without an intermediate handshakes fail; nothing is served with a stopgap.
func TestNotReadyTLS(t *testing.T) {
	s := newStore(t)
	a, err := NewAuthority(AuthorityOptions{Dir: s.dir, TrustDomain: domain, DNSNames: []string{serverName}})
	must(t, err)
	for _, config := range []*tls.Config{a.ServerTLS(), a.PublicTLS()} {
		if got, err := greeting(listen(t, config), &tls.Config{InsecureSkipVerify: true}); err == nil {
			t.Errorf("got %q", got)
		}
	}
}
