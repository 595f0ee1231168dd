// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"time"
)

// successor is what to use when next has been read and m has been in use (nil: nothing has). The
// trust bundle is always that of next. Its intermediate waits, and that of m goes on signing,
//
//   - until it is as old as clocks may be apart: cert-manager's certificates begin when they are made,
//     and a peer whose clock is behind would refuse every certificate below;
//   - until the trust bundle has its root: a proxy that does not know it would refuse them too. Who
//     puts it there waits for the proxies (package rotation);
//   - where chains must pass through the mesh's intermediates, until it is among those that may sign: until
//     then some proxy may not know it. Package rotation decides this, too.
//
// It waits only while the other one can still sign.
func successor(m, next *material, skew time.Duration, now time.Time) *material {
	if m == nil || m.issuer.same(next.issuer) {
		return next
	}
	c := next.issuer.chain[0]
	early := now.Before(c.NotBefore.Add(skew))
	strange := len(next.trusted) > 0 && !next.signsBelow(next.trusted)
	if !early && !strange && next.maySign(c) {
		return next
	}
	kept := &material{
		issuer: m.issuer, roots: next.roots, rootPEM: next.rootPEM, trusted: next.trusted, anchors: next.with(m.issuer.chain[0]),
	}
	until, signs, err := kept.end(now)
	if err != nil || until.Sub(now) < margin+minLifetime {
		return next // nothing else can sign
	}
	kept.signs = signs
	return kept
}

// signsBelow tells whether the issuer's chain can end in one of these roots.
func (m *material) signsBelow(roots []*x509.Certificate) bool {
	return slices.ContainsFunc(roots, func(c *x509.Certificate) bool { return slices.Contains(m.signs, Fingerprint(c)) })
}

// same tells whether two issuers are one intermediate.
func (i *issuer) same(o *issuer) bool { return i.chain[0].Equal(o.chain[0]) }

// Fingerprint is the SHA-256 of a certificate in lower-case hex.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// RootsOf names the roots that verified chains end in, each once, sorted.
func RootsOf(chains [][]*x509.Certificate) []string {
	var out []string
	for _, chain := range chains {
		out = append(out, Fingerprint(chain[len(chain)-1]))
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// CertificatesIn names the certificates of a PEM bundle, in its order; what is no certificate is passed over.
func CertificatesIn(bundle string) []string {
	list, _ := certificates([]byte(bundle))
	out := make([]string, 0, len(list))
	for _, c := range list {
		out = append(out, Fingerprint(c))
	}
	return out
}
