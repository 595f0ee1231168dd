// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"crypto/tls"
	"fmt"
)

// ServerTLS is for the ADS port: TLS 1.3, and a client certificate that chains to an active root, passes
// through an intermediate of this mesh once that is required, and names a workload of the trust domain.
// Every handshake sees what is trusted at that moment, and the current certificate.
func (a *Authority) ServerTLS() *tls.Config {
	return a.config(func(m *material, c *tls.Config) {
		c.ClientAuth = tls.RequireAndVerifyClientCert
		c.ClientCAs = m.roots
		c.NextProtos = []string{"h2"}
		c.VerifyConnection = func(s tls.ConnectionState) error {
			if err := m.accept(s.VerifiedChains); err != nil {
				return err
			}
			_, err := PrincipalFromCert(s.PeerCertificates[0], a.opts.TrustDomain)
			return err
		}
	})
}

// PublicTLS is for the signing port and the webhook: TLS 1.3, no client certificate.
func (a *Authority) PublicTLS() *tls.Config {
	return a.config(func(*material, *tls.Config) {})
}

// InternalTLS is for the internal port: as PublicTLS, with HTTP/1.1 alone, so that a connection is one request at a time.
func (a *Authority) InternalTLS() *tls.Config {
	return a.config(func(_ *material, c *tls.Config) { c.NextProtos = []string{"http/1.1"} })
}

// PeerTLS is for asking another replica on its internal port: it must show a certificate that chains to a
// root that is active now, passes through an intermediate of this mesh once that is required, and is for the name that every replica of this control plane has. The
// configuration is for one connection, since the roots change.
func (a *Authority) PeerTLS() (*tls.Config, error) {
	m := a.material()
	if m == nil {
		return nil, ErrNotReady
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: m.roots, ServerName: a.opts.DNSNames[0], NextProtos: []string{"http/1.1"}, Time: a.opts.Now,
		VerifyConnection: func(s tls.ConnectionState) error { return m.accept(s.VerifiedChains) },
	}, nil
}

func (a *Authority) config(finish func(*material, *tls.Config)) *tls.Config {
	// Tickets are off: a resumed session would skip the look at the current roots.
	base := &tls.Config{MinVersion: tls.VersionTLS13, SessionTicketsDisabled: true, NextProtos: []string{"h2", "http/1.1"}}
	outer := base.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		a.mu.RLock()
		m, own, err := a.current, a.own, a.err
		a.mu.RUnlock()
		if m == nil {
			return nil, fmt.Errorf("serve TLS: %w", err)
		}
		c := base.Clone()
		c.Certificates = []tls.Certificate{*own}
		c.Time = a.opts.Now
		finish(m, c)
		return c, nil
	}
	return outer
}
