// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// Lives of certificates.
const (
	// backdate covers peers whose clock is behind.
	backdate = protocol.Backdate
	// margin keeps a leaf from outliving anything it is signed by.
	margin = time.Minute
	// minLifetime is the shortest life worth signing; an agent renews after two thirds of it.
	minLifetime = time.Minute
	// servingLifetime is the life of the control plane's own certificate, renewed at half of it.
	servingLifetime = 24 * time.Hour
)

// errSpent says that the intermediate has too little life left to sign anything.
var errSpent = errors.New("the intermediate certificate is at the end of its life")

// issuer is one intermediate with its key. It is immutable.
type issuer struct {
	// chain is the intermediate and what lies between it and the root, without the root.
	chain []*x509.Certificate
	key   crypto.Signer
	// until is the end of the shortest life in the chain, root included.
	until time.Time
}

// leaf is a signed certificate.
type leaf struct {
	der                 []byte
	notBefore, notAfter time.Time
}

// workload signs a key for a principal: usable as client and as server, valid from backdate before
// now until lifetime after it or until the issuer ends, whichever is first.
func (i *issuer) workload(pub crypto.PublicKey, p Principal, trustDomain string, lifetime time.Duration, now time.Time) (leaf, error) {
	return i.sign(pub, &x509.Certificate{
		Subject:     p.subject(),
		URIs:        []*url.URL{p.uri(trustDomain)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}, lifetime, now)
}

// serving makes the control plane's own certificate with a new key that never leaves the process.
func (i *issuer) serving(dnsNames []string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make serving key: %w", err)
	}
	l, err := i.sign(key.Public(), &x509.Certificate{
		Subject:     pkix.Name{CommonName: dnsNames[0]},
		DNSNames:    dnsNames,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, servingLifetime, now)
	if err != nil {
		return nil, fmt.Errorf("sign serving certificate: %w", err)
	}
	parsed, err := x509.ParseCertificate(l.der)
	if err != nil {
		return nil, fmt.Errorf("read back serving certificate: %w", err)
	}
	c := &tls.Certificate{Certificate: [][]byte{l.der}, PrivateKey: key, Leaf: parsed}
	for _, cert := range i.chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c, nil
}

func (i *issuer) sign(pub crypto.PublicKey, t *x509.Certificate, lifetime time.Duration, now time.Time) (leaf, error) {
	end := now.Add(lifetime)
	if last := i.until.Add(-margin); end.After(last) {
		end = last
	}
	if end.Sub(now) < minLifetime {
		return leaf{}, errSpent
	}
	serial, err := serialNumber()
	if err != nil {
		return leaf{}, err
	}
	t.SerialNumber = serial
	t.NotBefore, t.NotAfter = now.Add(-backdate).UTC().Truncate(time.Second), end.UTC().Truncate(time.Second)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.BasicConstraintsValid = true // CA:FALSE, spelled out
	der, err := x509.CreateCertificate(rand.Reader, t, i.chain[0], pub, i.key)
	if err != nil {
		return leaf{}, fmt.Errorf("sign certificate: %w", err)
	}
	return leaf{der: der, notBefore: t.NotBefore, notAfter: t.NotAfter}, nil
}

// serialNumber is 128 random bits, positive and at most 20 octets as RFC 5280 §4.1.2.2 asks.
func serialNumber() (*big.Int, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("draw serial number: %w", err)
	}
	n := new(big.Int).SetBytes(b)
	if n.Sign() == 0 {
		return nil, errors.New("draw serial number: all bits are zero")
	}
	return n, nil
}

// chainPEM spells the leaf and the issuer's chain.
func (i *issuer) chainPEM(l leaf) string {
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: l.der})
	for _, c := range i.chain {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return string(out)
}
