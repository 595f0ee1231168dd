// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"tulle.dev/tulle/internal/names"
)

func somebody() Principal {
	return Principal{Namespace: "shop", ServiceAccount: "web", Pod: "web-1", PodUID: "uid-1", Kind: names.KindSidecar}
}

// TestLeaf: a workload certificate says what it must and nothing more, and any peer that holds the
// root accepts it as client and as server.
func TestLeaf(t *testing.T) {
	m := newMesh(t)
	mat := m.authority.material()
	key := newKey(t)
	l, err := mat.issuer.workload(key.Public(), somebody(), domain, time.Hour, m.clock.now)
	must(t, err)
	chain := parsePEM(t, mat.issuer.chainPEM(l))
	if len(chain) != 2 || !chain[1].Equal(m.inter.cert) {
		t.Fatalf("the chain is not leaf and intermediate: %d certificates", len(chain))
	}
	c := chain[0]
	for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth} {
		if _, err := c.Verify(x509.VerifyOptions{
			Roots: pool(m.root.cert), Intermediates: pool(chain[1]), CurrentTime: m.clock.now, KeyUsages: []x509.ExtKeyUsage{usage},
		}); err != nil {
			t.Error(err)
		}
	}
	if got := c.URIs[0].String(); len(c.URIs) != 1 || got != "spiffe://cluster.local/ns/shop/sa/web" {
		t.Errorf("URIs %v", c.URIs)
	}
	if c.IsCA || !c.BasicConstraintsValid || c.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("CA %v, usage %v", c.IsCA, c.KeyUsage)
	}
	if got := m.clock.now.Sub(c.NotBefore); got != 10*time.Minute {
		t.Errorf("back-dated by %s", got)
	}
	if got := c.NotAfter.Sub(m.clock.now); got != time.Hour {
		t.Errorf("lives for %s", got)
	}
	if bits := c.SerialNumber.BitLen(); bits > 128 || bits < 64 {
		t.Errorf("serial number of %d bits", bits)
	}
	p, err := PrincipalFromCert(c, domain)
	if err != nil || p != somebody() {
		t.Errorf("read back %+v, %v", p, err)
	}
	again, err := mat.issuer.workload(key.Public(), somebody(), domain, time.Hour, m.clock.now)
	must(t, err)
	if parsePEM(t, mat.issuer.chainPEM(again))[0].SerialNumber.Cmp(c.SerialNumber) == 0 {
		t.Error("two certificates with one serial number")
	}
}

// TestNameConstraint: even the intermediate's key cannot make a certificate of a foreign trust domain
// that a peer would accept.
func TestNameConstraint(t *testing.T) {
	m := newMesh(t)
	l, err := m.authority.material().issuer.workload(newKey(t).Public(), somebody(), "other.example", time.Hour, m.clock.now)
	must(t, err)
	c, err := x509.ParseCertificate(l.der)
	must(t, err)
	_, err = c.Verify(x509.VerifyOptions{
		Roots: pool(m.root.cert), Intermediates: pool(m.inter.cert), CurrentTime: m.clock.now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.CANotAuthorizedForThisName {
		t.Errorf("got %v, want a violated name constraint", err)
	}
}

// TestLeafEndsFirst: leaf before intermediate before root, whatever is asked for.
func TestLeafEndsFirst(t *testing.T) {
	m := newMesh(t)
	issue := func(lifetime time.Duration) (leaf, error) {
		return m.authority.material().issuer.workload(newKey(t).Public(), somebody(), domain, lifetime, m.clock.now)
	}
	l, err := issue(9999 * time.Hour)
	must(t, err)
	if !l.notAfter.Before(m.inter.cert.NotAfter) {
		t.Errorf("leaf ends at %s, intermediate at %s", l.notAfter, m.inter.cert.NotAfter)
	}
	m.clock.now = m.inter.cert.NotAfter.Add(-margin - minLifetime + time.Second)
	if _, err := issue(time.Hour); !errors.Is(err, errSpent) {
		t.Errorf("an intermediate at its end signs: %v", err)
	}
	if err := m.authority.Ready(); !errors.Is(err, errSpent) {
		t.Errorf("Ready says %v", err)
	}

	// A root that ends before the intermediate bounds the leaf too.
	m = newMesh(t)
	short := certify(t, nil, "short root", m.clock.now.Add(-time.Hour), m.clock.now.Add(2*time.Hour), nil)
	inter := certify(t, short, "long intermediate", m.clock.now.Add(-time.Hour), m.clock.now.Add(100*time.Hour), constrained(domain))
	m.putAuthority(short, inter)
	m.authority.Reload()
	if l, err = issue(9999 * time.Hour); err != nil || !l.notAfter.Before(short.cert.NotAfter) {
		t.Errorf("leaf ends at %s, root at %s: %v", l.notAfter, short.cert.NotAfter, err)
	}
}

// TestUnusable: a Secret that would make refused certificates is refused before anybody depends on
// it; the last good one goes on, and a good one later heals.
func TestUnusable(t *testing.T) {
	m := newMesh(t)
	now := m.clock.now
	good := certify(t, m.root, "good", now.Add(-time.Hour), now.Add(100*time.Hour), constrained(domain))
	stranger := certify(t, nil, "stranger", now.Add(-time.Hour), now.Add(1000*time.Hour), nil)
	ca := func(change func(*x509.Certificate)) *authority {
		return certify(t, m.root, "bad", now.Add(-time.Hour), now.Add(100*time.Hour), change)
	}
	type secret struct{ chain, key, root []byte }
	from := func(a *authority) secret { return secret{pemOf(a.cert), keyPEM(t, a.key), pemOf(m.root.cert)} }
	for name, c := range map[string]struct {
		secret secret
		says   string
	}{
		"not a CA":         {from(ca(func(c *x509.Certificate) { c.IsCA = false; c.KeyUsage = x509.KeyUsageDigitalSignature })), "not a CA"},
		"expired":          {from(certify(t, m.root, "old", now.Add(-9*time.Hour), now.Add(-time.Hour), nil)), "expired"},
		"other domain":     {from(ca(constrained("other.example"))), "would be refused"},
		"other root":       {secret{pemOf(good.cert), keyPEM(t, good.key), pemOf(stranger.cert)}, "unknown authority"},
		"other key":        {secret{pemOf(good.cert), keyPEM(t, stranger.key), pemOf(m.root.cert)}, "private key does not match"},
		"no certificate":   {secret{nil, keyPEM(t, good.key), pemOf(m.root.cert)}, "read intermediate"},
		"no root":          {secret{pemOf(good.cert), keyPEM(t, good.key), nil}, "unknown authority"},
		"garbage for root": {secret{pemOf(good.cert), keyPEM(t, good.key), []byte("hello")}, "ca.crt"},
		"key for root":     {secret{pemOf(good.cert), keyPEM(t, good.key), keyPEM(t, good.key)}, "ca.crt"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			s.put(c.secret.chain, c.secret.key, c.secret.root)
			reg := prometheus.NewRegistry()
			metrics, err := NewMetrics(reg)
			must(t, err)
			a, err := NewAuthority(AuthorityOptions{
				Dir: s.dir, TrustDomain: domain, DNSNames: []string{"x"}, Now: m.clock.Now, Metrics: metrics,
			})
			must(t, err)
			if err := a.Ready(); !errors.Is(err, ErrNotReady) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Ready says %v, want something of %q", err, c.says)
			}
			s.putAuthority(m.root, good)
			a.Reload()
			must(t, a.Ready())
			if got := testutil.ToFloat64(metrics.expiry); got != float64(good.cert.NotAfter.Unix()) {
				t.Errorf("the intermediate is said to end at %v", got)
			}
			loaded := a.material()
			s.put(c.secret.chain, c.secret.key, c.secret.root)
			a.Reload()
			if a.material() != loaded {
				t.Error("the last good intermediate was given up")
			}
			if got := testutil.ToFloat64(metrics.reloads.WithLabelValues("error")); got != 2 {
				t.Errorf("%v failed reloads counted, want 2", got)
			}
		})
	}
}

// TestHotReload: a renewed intermediate is used without a restart, by Run's own polling.
func TestHotReload(t *testing.T) {
	m := newMesh(t)
	m.authority.opts.Interval = time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.authority.Run(ctx) }()
	trust, changed := m.authority.Trust()
	if trust != (Trust{Roots: string(pemOf(m.root.cert))}) {
		t.Errorf("trusted are\n%+v", trust)
	}

	next := certify(t, m.root, "renewed", m.clock.now.Add(-time.Hour), m.clock.now.Add(200*time.Hour), constrained(domain))
	m.putAuthority(m.root, next)
	eventually(t, func() bool { return m.authority.material().issuer.chain[0].Equal(next.cert) })
	select {
	case <-changed:
		t.Error("the roots are said to have changed, and have not")
	default:
	}

	// A second root becomes active before anything is signed with it: the union is trusted.
	second := certify(t, nil, "second root", m.clock.now, m.clock.now.Add(2000*time.Hour), nil)
	must(t, os.WriteFile(m.trust, pemOf(second.cert, m.root.cert, second.cert), 0o600))
	select {
	case <-changed:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody was told of the new root")
	}
	if trust, _ = m.authority.Trust(); trust.Roots != string(pemOf(m.root.cert, second.cert)) {
		t.Errorf("roots are\n%s", trust.Roots)
	}
	cancel()
	must(t, <-done)
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestStartsEmpty: the control plane may start before cert-manager has issued anything.
func TestStartsEmpty(t *testing.T) {
	m := newMesh(t)
	s := newStore(t)
	a, err := NewAuthority(AuthorityOptions{Dir: s.dir, TrustFile: s.trust, TrustDomain: domain, DNSNames: []string{"x"}, Now: m.clock.Now})
	must(t, err)
	if err := a.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("Ready says %v", err)
	}
	trust, changed := a.Trust()
	if trust != (Trust{}) {
		t.Errorf("trusted are %+v", trust)
	}
	s.putAuthority(m.root, m.inter)
	a.Reload()
	must(t, a.Ready())
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the first root")
	}
}

// TestRootFromTheBundleAlone: an issuer that does not say what its root is, is taken once the trust
// bundle holds that root.
func TestRootFromTheBundleAlone(t *testing.T) {
	m := newMesh(t)
	s := newStore(t)
	s.putAuthority(m.root, m.inter)
	must(t, os.Remove(filepath.Join(s.dir, "..data", "ca.crt")))
	a, err := NewAuthority(AuthorityOptions{Dir: s.dir, TrustFile: s.trust, TrustDomain: domain, DNSNames: []string{"x"}, Now: m.clock.Now})
	must(t, err)
	if err := a.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("Ready says %v", err)
	}
	must(t, os.WriteFile(s.trust, pemOf(m.root.cert), 0o600))
	a.Reload()
	must(t, a.Ready())
}

// TestLongChain: an external issuer's further intermediate is served along; a root at the end is not.
func TestLongChain(t *testing.T) {
	m := newMesh(t)
	now := m.clock.now
	corporate := certify(t, m.root, "corporate", now.Add(-time.Hour), now.Add(50*time.Hour), nil)
	inter := certify(t, corporate, "below", now.Add(-time.Hour), now.Add(100*time.Hour), constrained(domain))
	m.put(pemOf(inter.cert, corporate.cert, m.root.cert), keyPEM(t, inter.key), nil)
	m.authority.Reload()
	l, err := m.authority.material().issuer.workload(newKey(t).Public(), somebody(), domain, 9999*time.Hour, now)
	must(t, err)
	chain := parsePEM(t, m.authority.material().issuer.chainPEM(l))
	if len(chain) != 3 || !chain[1].Equal(inter.cert) || !chain[2].Equal(corporate.cert) {
		t.Fatalf("chain of %d", len(chain))
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{Roots: pool(m.root.cert), Intermediates: pool(chain[1:]...), CurrentTime: now}); err != nil {
		t.Error(err)
	}
	if !l.notAfter.Before(corporate.cert.NotAfter) {
		t.Errorf("leaf ends at %s, after %s", l.notAfter, corporate.cert.NotAfter)
	}
}
