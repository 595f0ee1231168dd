// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package health

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// Authority is an intermediate certificate that workloads' certificates can be signed with.
type Authority struct {
	// Intermediate is its certificate.
	Intermediate *x509.Certificate
	// Roots are the certificates its chain ends in.
	Roots []*x509.Certificate
	// NotAfter is when the intermediate ends.
	NotAfter time.Time
}

// ReadAuthority checks the intermediate in a Secret: that it is a certificate authority, hangs from
// its roots, may sign for the trust domain, and has not ended. issuer is how messages call the issuer.
// The verdict is nil if it can be used.
func ReadAuthority(f CertificateFacts, trustDomain, issuer string, now time.Time) (Authority, *Verdict) {
	name := cmp.Or(f.Name, names.IntermediateSecret)
	chain, err := ParsePEM(f.TLSCrt)
	if err != nil || len(chain) == 0 {
		return Authority{}, bad(v1alpha1.ReasonCertificateInvalid, "the Secret %s has no certificate in tls.crt; delete the Secret and cert-manager issues a new one", name)
	}
	leaf := chain[0]
	if !leaf.BasicConstraintsValid || !leaf.IsCA || leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageCertSign == 0 {
		return Authority{}, bad(v1alpha1.ReasonIssuerCannotSignCA, "%s issued a certificate that is no authority (isCA was not honoured); name an issuer in spec.certificates.issuerRef that may issue authorities, or leave issuerRef out", issuer)
	}
	if now.After(leaf.NotAfter) {
		return Authority{}, bad(v1alpha1.ReasonCertificateExpired, "the intermediate certificate has ended and was not renewed; look at Certificate %s and at cert-manager's log", name)
	}
	roots, err := ParsePEM(f.CACrt)
	if err == nil && len(roots) == 0 && len(chain) > 1 {
		// Some issuers give the whole chain and no ca.crt.
		roots = chain[len(chain)-1:]
	}
	if err != nil || len(roots) == 0 {
		return Authority{}, bad(v1alpha1.ReasonCertificateInvalid, "%s gave no certificate of its own (ca.crt is empty), so nobody could verify what the mesh signs; name another issuer", issuer)
	}
	chains, err := verify(chain, roots, now)
	if err != nil {
		return Authority{}, bad(v1alpha1.ReasonCertificateInvalid, "the intermediate certificate does not hang from the issuer's own (%v); name another issuer", err)
	}
	if v := maySign(chains[0], trustDomain, issuer); v != nil {
		return Authority{}, v
	}
	return Authority{Intermediate: leaf, Roots: roots, NotAfter: leaf.NotAfter}, nil
}

func verify(chain, roots []*x509.Certificate, now time.Time) ([][]*x509.Certificate, error) {
	opts := x509.VerifyOptions{
		Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(),
		CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	for _, c := range roots {
		opts.Roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		opts.Intermediates.AddCert(c)
	}
	return chain[0].Verify(opts)
}

// maySign looks for what would make every workload's certificate invalid: a path length or a name
// constraint (RFC 5280, 4.2.1.9 and 4.2.1.10) anywhere between the intermediate and the root.
func maySign(chain []*x509.Certificate, trustDomain, issuer string) *Verdict {
	for depth, c := range chain {
		limited := c.MaxPathLen > 0 || c.MaxPathLen == 0 && c.MaxPathLenZero
		if limited && c.MaxPathLen < depth {
			return bad(v1alpha1.ReasonIssuerCannotSignCA, "%s may not have an authority below it (the path length of %q is %d, but must be at least %d); name an issuer higher up", issuer, c.Subject.CommonName, c.MaxPathLen, depth)
		}
		if len(c.PermittedURIDomains) > 0 && !slices.ContainsFunc(c.PermittedURIDomains, func(d string) bool { return covers(d, trustDomain) }) {
			return bad(v1alpha1.ReasonIssuerCannotSignCA, "%s may not sign for the trust domain %s (the name constraint of %q permits only %s); name another issuer or another trust domain", issuer, trustDomain, c.Subject.CommonName, strings.Join(c.PermittedURIDomains, ", "))
		}
		if slices.ContainsFunc(c.ExcludedURIDomains, func(d string) bool { return covers(d, trustDomain) }) {
			return bad(v1alpha1.ReasonIssuerCannotSignCA, "%s may not sign for the trust domain %s (the name constraint of %q excludes it); name another issuer or another trust domain", issuer, trustDomain, c.Subject.CommonName)
		}
	}
	return nil
}

// covers is the URI constraint of RFC 5280: a leading dot permits hosts below, otherwise the host itself.
func covers(constraint, host string) bool {
	if strings.HasPrefix(constraint, ".") {
		return strings.HasSuffix(host, constraint)
	}
	return strings.EqualFold(constraint, host)
}

// ParsePEM reads every certificate of a PEM bundle; what is no certificate is passed over.
func ParsePEM(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(data) > 0 {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parse certificate: %w", err)
		}
		out = append(out, c)
	}
	return out, nil
}

// Fingerprint is the SHA-256 of a certificate in hex, as in Mesh status.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}
