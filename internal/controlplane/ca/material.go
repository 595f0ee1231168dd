// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"tulle.dev/tulle/internal/names"
)

// files are the contents that an Authority is made of: a cert-manager Secret (tls.crt, tls.key, ca.crt),
// and of the trust ConfigMap the active roots, the mesh's intermediates, and which of those may sign. The
// latter three are empty before the operator has written them.
type files struct {
	chain, key, issuerRoot        []byte
	trust, intermediates, signers []byte
}

func (f files) equal(o files) bool {
	return bytes.Equal(f.chain, o.chain) && bytes.Equal(f.key, o.key) &&
		bytes.Equal(f.issuerRoot, o.issuerRoot) && bytes.Equal(f.trust, o.trust) &&
		bytes.Equal(f.intermediates, o.intermediates) && bytes.Equal(f.signers, o.signers)
}

// material is what files mean: immutable, replaced as a whole.
type material struct {
	issuer  *issuer
	roots   *x509.CertPool
	rootPEM string
	// trusted are the roots of the trust bundle alone; empty without one.
	trusted []*x509.Certificate
	// signs names the roots that the issuer's chain can end in.
	signs []string
	anchors
}

// materialFrom reads files and proves that certificates signed with them will be accepted: it signs
// one for the trust domain and verifies it as a peer would, name constraints included. A Secret that
// would produce refused certificates is thereby refused itself, before anybody depends on it.
func materialFrom(f files, trustDomain string, now time.Time) (*material, error) {
	pair, err := tls.X509KeyPair(f.chain, f.key)
	if err != nil {
		return nil, fmt.Errorf("read intermediate: %w", err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("read intermediate: a key of type %T cannot sign", pair.PrivateKey)
	}
	roots, err := certificates(f.issuerRoot)
	if err != nil {
		return nil, fmt.Errorf("read ca.crt: %w", err)
	}
	trusted, err := certificates(f.trust)
	if err != nil {
		return nil, fmt.Errorf("read trust bundle: %w", err)
	}
	roots = append(roots, trusted...)
	required, err := anchorsFrom(f)
	if err != nil {
		return nil, err
	}
	is := &issuer{key: key}
	for _, der := range pair.Certificate {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read intermediate: %w", err)
		}
		if len(is.chain) > 0 && selfSigned(c) { // some issuers end the chain with the root
			roots = append(roots, c)
			continue
		}
		is.chain = append(is.chain, c)
	}
	if c := is.chain[0]; !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0 {
		return nil, fmt.Errorf("%q is not a CA certificate: its issuer cannot issue one", c.Subject)
	}
	m := &material{issuer: is, roots: x509.NewCertPool(), trusted: trusted, anchors: required.with(is.chain[0])}
	for _, c := range union(roots) {
		m.roots.AddCert(c)
		m.rootPEM += string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	if is.until, m.signs, err = m.end(now); err != nil {
		return nil, err
	}
	if err := m.prove(trustDomain, now); err != nil {
		return nil, err
	}
	return m, nil
}

// end is when the longest-lived way from the intermediate to a root ends, and which roots ways end in.
func (m *material) end(now time.Time) (time.Time, []string, error) {
	chains, err := m.issuer.chain[0].Verify(x509.VerifyOptions{
		Roots: m.roots, Intermediates: m.between(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return time.Time{}, nil, fmt.Errorf("verify intermediate: %w", err)
	}
	var latest time.Time
	for _, chain := range chains {
		first := chain[0].NotAfter
		for _, c := range chain[1:] {
			if c.NotAfter.Before(first) {
				first = c.NotAfter
			}
		}
		if first.After(latest) {
			latest = first
		}
	}
	return latest, RootsOf(chains), nil
}

// prove signs a workload certificate that is thrown away and verifies it.
func (m *material) prove(trustDomain string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	p := Principal{Namespace: "n", ServiceAccount: "s", Pod: "p", PodUID: "u", Kind: names.KindSidecar}
	l, err := m.issuer.workload(key.Public(), p, trustDomain, time.Hour, now)
	if err != nil {
		return err
	}
	c, err := x509.ParseCertificate(l.der)
	if err != nil {
		return fmt.Errorf("read back certificate: %w", err)
	}
	between := m.between()
	between.AddCert(m.issuer.chain[0])
	if _, err := c.Verify(x509.VerifyOptions{
		Roots: m.roots, Intermediates: between, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return fmt.Errorf("workload certificates of trust domain %s signed with this intermediate would be refused: %w", trustDomain, err)
	}
	return nil
}

func (m *material) between() *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range m.issuer.chain[1:] {
		pool.AddCert(c)
	}
	return pool
}

// certificates reads every certificate of a PEM bundle.
func certificates(bundle []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if len(bytes.TrimSpace(rest)) != 0 {
				return nil, errors.New("not PEM")
			}
			return out, nil
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("PEM of type %q, want CERTIFICATE", block.Type)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
}

// union removes duplicates and orders by age, so that every replica spells the same bundle.
func union(roots []*x509.Certificate) []*x509.Certificate {
	slices.SortFunc(roots, func(a, b *x509.Certificate) int {
		return cmp.Or(a.NotBefore.Compare(b.NotBefore), bytes.Compare(a.Raw, b.Raw))
	})
	return slices.CompactFunc(roots, (*x509.Certificate).Equal)
}

func selfSigned(c *x509.Certificate) bool {
	return bytes.Equal(c.RawSubject, c.RawIssuer) && c.CheckSignatureFrom(c) == nil
}
