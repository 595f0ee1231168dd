// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package health

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
)

// maxRoots bounds the bundle that every proxy carries.
const maxRoots = 8

// Authority is an intermediate certificate that workloads' certificates can be signed with.
type Authority struct {
	// Roots are the certificates its chain ends in.
	Roots []*x509.Certificate
	// NotAfter is when the intermediate ends.
	NotAfter time.Time
}

// readAuthority checks the intermediate in a Secret: that it is a certificate authority, hangs from
// its roots, may sign for the trust domain, and has not ended. issuer is how messages call the issuer.
func readAuthority(tlsCrt, caCrt []byte, trustDomain, issuer string, now time.Time) (Authority, *Verdict) {
	chain, err := parsePEM(tlsCrt)
	if err != nil || len(chain) == 0 {
		return Authority{}, bad(v1alpha1.ReasonCertificateInvalid, "the Secret tulle-intermediate has no certificate in tls.crt; delete the Secret and cert-manager issues a new one")
	}
	leaf := chain[0]
	if !leaf.BasicConstraintsValid || !leaf.IsCA || leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageCertSign == 0 {
		return Authority{}, bad(v1alpha1.ReasonIssuerCannotSignCA, "%s issued a certificate that is no authority (isCA was not honoured); name an issuer in spec.certificates.issuerRef that may issue authorities, or leave issuerRef out", issuer)
	}
	if now.After(leaf.NotAfter) {
		return Authority{}, bad(v1alpha1.ReasonCertificateExpired, "the intermediate certificate has ended and was not renewed; look at Certificate tulle-intermediate and at cert-manager's log")
	}
	roots, err := parsePEM(caCrt)
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
	return Authority{Roots: roots, NotAfter: leaf.NotAfter}, nil
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

func parsePEM(data []byte) ([]*x509.Certificate, error) {
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

// Bundle is what every proxy trusts: the roots that are active now and, in front of them in the
// order they came, the earlier ones that have not ended. spread is the bundle that was spread last;
// of it only what known (Mesh status) lists is kept, so that a root that somebody else added to the
// ConfigMap goes away.
func Bundle(active []*x509.Certificate, spread string, known []v1alpha1.RootStatus, now time.Time) (string, []v1alpha1.RootStatus) {
	earlier, err := parsePEM([]byte(spread))
	if err != nil {
		earlier = nil // Somebody broke it; the active roots repair it.
	}
	isKnown := func(c *x509.Certificate) bool {
		f := Fingerprint(c)
		return slices.ContainsFunc(known, func(r v1alpha1.RootStatus) bool { return r.SHA256 == f })
	}
	isActive := func(c *x509.Certificate) bool { return slices.ContainsFunc(active, c.Equal) }
	var roots []*x509.Certificate
	for _, c := range earlier {
		if (isKnown(c) || isActive(c)) && now.Before(c.NotAfter) && !slices.ContainsFunc(roots, c.Equal) {
			roots = append(roots, c)
		}
	}
	for _, c := range active {
		if !slices.ContainsFunc(roots, c.Equal) {
			roots = append(roots, c)
		}
	}
	for len(roots) > maxRoots {
		oldest := slices.IndexFunc(roots, func(c *x509.Certificate) bool { return !isActive(c) })
		if oldest < 0 {
			break
		}
		roots = slices.Delete(roots, oldest, oldest+1)
	}
	var text strings.Builder
	status := make([]v1alpha1.RootStatus, 0, len(roots))
	for _, c := range roots {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
		status = append(status, v1alpha1.RootStatus{SHA256: Fingerprint(c), NotAfter: timeOf(c.NotAfter), Active: isActive(c)})
	}
	return text.String(), status
}
