// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"os"
	"slices"
	"testing"
	"time"
)

// TestANewIntermediateWaitsForClocks: an intermediate that begins now signs only once the clock that
// is furthest behind takes it, and a leaf is good there from its first moment.
func TestANewIntermediateWaitsForClocks(t *testing.T) {
	const skew = 5 * time.Minute
	m := newMesh(t)
	m.authority.opts.Skew = func() time.Duration { return skew }
	now := m.clock.now
	began := m.authority.Signs().Since
	next := certify(t, m.root, "renewed", now, now.Add(200*time.Hour), constrained(domain))
	m.putAuthority(m.root, next)

	for _, after := range []time.Duration{0, time.Minute, skew - time.Second} {
		m.clock.now = now.Add(after)
		m.authority.Reload()
		if !m.authority.material().issuer.chain[0].Equal(m.inter.cert) {
			t.Fatalf("the new intermediate signs %s after it began", after)
		}
	}
	if since := m.authority.Signs().Since; !since.Equal(began) {
		t.Errorf("signing is said to have begun at %s, want %s", since, began)
	}
	m.clock.now = now.Add(skew)
	m.authority.Reload()
	mat := m.authority.material()
	if !mat.issuer.chain[0].Equal(next.cert) {
		t.Fatal("the new intermediate does not sign although it is old enough")
	}
	if since := m.authority.Signs().Since; !since.Equal(m.clock.now) {
		t.Errorf("signing is said to have begun at %s, want now", since)
	}
	l, err := mat.issuer.workload(newKey(t).Public(), somebody(), domain, time.Hour, m.clock.now)
	must(t, err)
	if behind := m.clock.now.Add(-skew); l.notBefore.After(behind) || mat.issuer.chain[0].NotBefore.After(behind) {
		t.Error("a peer whose clock is behind refuses the chain")
	}
	if ahead := m.clock.now.Add(skew); !l.notAfter.After(ahead) {
		t.Error("a peer whose clock is ahead refuses the leaf")
	}
}

// TestAnUntrustedRootSignsNothing: an intermediate below a root that is not spread yet waits, and
// takes over once the root is there.
func TestAnUntrustedRootSignsNothing(t *testing.T) {
	m := newMesh(t)
	now := m.clock.now
	must(t, os.WriteFile(m.trust, pemOf(m.root.cert), 0o600))
	m.authority.Reload()
	second := certify(t, nil, "second root", now.Add(-time.Hour), now.Add(2000*time.Hour), nil)
	next := certify(t, second, "below it", now.Add(-time.Hour), now.Add(200*time.Hour), constrained(domain))
	m.putAuthority(second, next)
	m.authority.Reload()
	if signs := m.authority.Signs().Roots; !m.authority.material().issuer.chain[0].Equal(m.inter.cert) || !slices.Equal(signs, []string{Fingerprint(m.root.cert)}) {
		t.Fatalf("it signs below a root that nobody trusts: %v", signs)
	}
	must(t, os.WriteFile(m.trust, pemOf(m.root.cert, second.cert), 0o600))
	m.authority.Reload()
	if signs := m.authority.Signs().Roots; !m.authority.material().issuer.chain[0].Equal(next.cert) || !slices.Equal(signs, []string{Fingerprint(second.cert)}) {
		t.Fatalf("it does not sign below the new root: %v", signs)
	}
}

// TestTheOnlyIntermediateIsUsed: rather early or strange than none, at the start and when the other one ends.
func TestTheOnlyIntermediateIsUsed(t *testing.T) {
	m := newMesh(t)
	m.authority.opts.Skew = func() time.Duration { return 5 * time.Minute }
	m.clock.now = m.inter.cert.NotAfter.Add(-margin)
	next := certify(t, m.root, "renewed late", m.clock.now, m.clock.now.Add(200*time.Hour), constrained(domain))
	m.putAuthority(m.root, next)
	m.authority.Reload()
	if !m.authority.material().issuer.chain[0].Equal(next.cert) {
		t.Error("nothing signs")
	}
	fresh, err := NewAuthority(AuthorityOptions{
		Dir: m.dir, TrustFile: m.trust, TrustDomain: domain, DNSNames: []string{"x"}, Now: m.clock.Now, Skew: m.authority.opts.Skew,
	})
	must(t, err)
	must(t, fresh.Ready())
}
