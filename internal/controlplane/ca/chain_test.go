// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

const domain = "cluster.local"

// authority is a certificate with its key, as cert-manager would hold it.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// certify makes a CA certificate; by is nil for a root.
func certify(t testing.TB, by *authority, name string, from, until time.Time, change func(*x509.Certificate)) *authority {
	t.Helper()
	key := newKey(t)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if change != nil {
		change(tmpl)
	}
	parent, signer := tmpl, crypto.Signer(key)
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// constrained is what Tulle asks cert-manager for: certificates of one trust domain only.
func constrained(domains ...string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.PermittedURIDomains, c.PermittedDNSDomainsCritical = domains, true
	}
}

func pemOf(certs ...*x509.Certificate) []byte {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return out
}

func keyPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// store is a directory that holds a Secret as the kubelet mounts one: files are symlinks through
// "..data", which is swapped.
type store struct {
	t     testing.TB
	dir   string
	trust string
	n     int
}

func newStore(t testing.TB) *store {
	return &store{t: t, dir: t.TempDir(), trust: filepath.Join(t.TempDir(), "ca.crt")}
}

// put writes a generation of the Secret and swaps it in.
func (s *store) put(chain, key, root []byte) {
	s.t.Helper()
	s.n++
	gen := filepath.Join(s.dir, "..gen"+string(rune('a'+s.n)))
	must(s.t, os.Mkdir(gen, 0o755))
	for name, b := range map[string][]byte{"tls.crt": chain, "tls.key": key, "ca.crt": root} {
		must(s.t, os.WriteFile(filepath.Join(gen, name), b, 0o600))
		link := filepath.Join(s.dir, name)
		if _, err := os.Lstat(link); os.IsNotExist(err) {
			must(s.t, os.Symlink(filepath.Join("..data", name), link))
		}
	}
	tmp := filepath.Join(s.dir, "..tmp")
	must(s.t, os.Symlink(filepath.Base(gen), tmp))
	must(s.t, os.Rename(tmp, filepath.Join(s.dir, "..data")))
}

func (s *store) putAuthority(root, inter *authority) {
	s.t.Helper()
	s.put(pemOf(inter.cert), keyPEM(s.t, inter.key), pemOf(root.cert))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// clock is a hand-moved clock.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func newClock() *clock { return &clock{time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)} }

// mesh is a root and an intermediate, loaded.
type mesh struct {
	*store
	clock       *clock
	root, inter *authority
	authority   *Authority
}

func newMesh(t testing.TB) *mesh {
	t.Helper()
	m := &mesh{store: newStore(t), clock: newClock()}
	now := m.clock.now
	m.root = certify(t, nil, "root", now.Add(-time.Hour), now.Add(1000*time.Hour), nil)
	m.inter = certify(t, m.root, "intermediate", now.Add(-time.Hour), now.Add(100*time.Hour), constrained(domain))
	m.putAuthority(m.root, m.inter)
	m.authority = m.open(t)
	must(t, m.authority.Ready())
	return m
}

func (m *mesh) open(t testing.TB) *Authority {
	t.Helper()
	a, err := NewAuthority(AuthorityOptions{
		Dir: m.dir, TrustFile: m.trust, TrustDomain: domain, Now: m.clock.Now,
		DNSNames: []string{"tulle-controlplane.tulle-system.svc", "tulle-controlplane.tulle-system.svc.cluster.local"},
	})
	must(t, err)
	return a
}

func pool(certs ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range certs {
		p.AddCert(c)
	}
	return p
}

func parsePEM(t testing.TB, chain string) []*x509.Certificate {
	t.Helper()
	certs, err := certificates([]byte(chain))
	must(t, err)
	return certs
}
