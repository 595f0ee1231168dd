// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/names"
)

// require writes the mesh's intermediates, and those of them that may sign.
func (m *mesh) require(t testing.TB, list, signers []*authority) {
	t.Helper()
	var text []byte
	for _, a := range list {
		text = append(text, pemOf(a.cert)...)
	}
	var ids []string
	for _, a := range signers {
		ids = append(ids, Fingerprint(a.cert))
	}
	must(t, os.WriteFile(filepath.Join(filepath.Dir(m.trust), names.IntermediatesKey), text, 0o600))
	must(t, os.WriteFile(filepath.Join(filepath.Dir(m.trust), names.SignersKey), []byte(strings.Join(ids, "\n")), 0o600))
	m.authority.Reload()
}

// TestForgedBelowTheSharedRoot: whoever may ask the issuer of the root for a certificate is no proxy of the
// mesh, neither as a workload nor as a Gateway's. Where only roots are known, as in release 0.2.0, he is.
func TestForgedBelowTheSharedRoot(t *testing.T) {
	m := newMesh(t)
	now := m.clock.now
	ca := func(name string) *authority {
		return certify(t, m.root, name, now.Add(-time.Hour), now.Add(100*time.Hour), constrained(domain))
	}
	// Another mesh below the same root, whose intermediate has the same name; and a former intermediate.
	other, former := ca("intermediate"), ca("former")
	gateway := func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{names.KindGateway} }
	appended := pair(t, m.root, now, nil)
	appended.Certificate = append(appended.Certificate, m.inter.cert.Raw)
	forged := map[string]*tls.Certificate{
		"signed by the root":                       pair(t, m.root, now, nil),
		"signed by the root, of a Gateway":         pair(t, m.root, now, gateway),
		"signed by the root, with a chain of ours": appended,
		"signed by another mesh":                   pair(t, other, now, nil),
		"signed below another mesh":                pair(t, certify(t, other, "below", now.Add(-time.Hour), now.Add(time.Hour), nil), now, nil),
	}
	below := forged["signed below another mesh"]
	below.Certificate = append(below.Certificate, other.cert.Raw)
	honest := map[string]*tls.Certificate{
		"signed by the intermediate":      pair(t, m.inter, now, nil),
		"signed by a former intermediate": pair(t, former, now, nil),
		"signed by ours, of a Gateway":    pair(t, m.inter, now, gateway),
	}
	addr := listen(t, m.authority.ServerTLS())
	try := func(c *tls.Certificate) bool {
		got, err := greeting(addr, &tls.Config{ServerName: serverName, RootCAs: pool(m.root.cert), Time: m.clock.Now, Certificates: []tls.Certificate{*c}})
		return err == nil && got == "web-1"
	}
	for name, c := range forged {
		if !try(c) {
			t.Errorf("%s: refused although only roots are known; the test proves nothing", name)
		}
	}
	m.require(t, []*authority{former, m.inter}, []*authority{m.inter})
	for name, c := range forged {
		if try(c) {
			t.Errorf("%s: accepted", name)
		}
	}
	for name, c := range honest {
		if !try(c) {
			t.Errorf("%s: refused", name)
		}
	}
	m.require(t, []*authority{m.inter}, []*authority{m.inter})
	if try(honest["signed by a former intermediate"]) {
		t.Error("an intermediate that is no longer listed is accepted")
	}
	if trust, _ := m.authority.Trust(); trust.Anchors() != string(pemOf(m.inter.cert)) || trust.Roots != string(pemOf(m.root.cert)) {
		t.Errorf("proxies are told to trust\n%s", trust.Anchors())
	}
}

// TestABrokenListOfIntermediates is not taken for none: the last good one counts.
func TestABrokenListOfIntermediates(t *testing.T) {
	m := newMesh(t)
	m.require(t, []*authority{m.inter}, []*authority{m.inter})
	good, _ := m.authority.Trust()
	for name, text := range map[string][]byte{"not PEM": []byte("nonsense"), "a root": pemOf(m.root.cert)} {
		must(t, os.WriteFile(filepath.Join(filepath.Dir(m.trust), names.IntermediatesKey), text, 0o600))
		m.authority.Reload()
		if got, _ := m.authority.Trust(); got != good {
			t.Errorf("%s: trusted are now\n%s", name, got.Anchors())
		}
	}
}

// TestANewIntermediateWaitsForProxies: proxies of this replica are told of it at once, and it signs when the
// operator has seen that all proxies were, by whichever way that comes first.
func TestANewIntermediateWaitsForProxies(t *testing.T) {
	for name, clear := range map[string]func(*mesh, *authority){
		"by the ConfigMap": func(m *mesh, next *authority) { m.require(t, []*authority{m.inter, next}, []*authority{m.inter, next}) },
		"by the status of the Mesh": func(m *mesh, next *authority) {
			m.authority.opts.Distributed = func() []string { return []string{Fingerprint(next.cert)} }
			m.authority.Reload()
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMesh(t)
			now := m.clock.now
			m.require(t, []*authority{m.inter}, []*authority{m.inter})
			served := m.authority.own
			_, changed := m.authority.Trust()
			next := certify(t, m.root, "renewed", now.Add(-time.Hour), now.Add(200*time.Hour), constrained(domain))
			m.putAuthority(m.root, next)
			m.authority.Reload()
			if s := m.authority.Signs(); s.Intermediate != Fingerprint(m.inter.cert) {
				t.Fatal("it signs before it is distributed")
			}
			select {
			case <-changed:
			default:
				t.Error("proxies are not told of the new intermediate")
			}
			if trust, _ := m.authority.Trust(); len(CertificatesIn(trust.Intermediates)) != 2 {
				t.Errorf("trusted are\n%s", trust.Intermediates)
			}
			m.require(t, []*authority{m.inter, next}, []*authority{m.inter})
			if s := m.authority.Signs(); s.Intermediate != Fingerprint(m.inter.cert) {
				t.Fatal("it signs before every proxy has acknowledged it")
			}
			clear(m, next)
			if s := m.authority.Signs(); s.Intermediate != Fingerprint(next.cert) {
				t.Fatal("it does not sign")
			}
			// Agents learn of the new intermediate from a file, later than proxies.
			if m.authority.own != served {
				t.Error("the certificate that agents can verify is no longer served")
			}
			if s := m.authority.Signs(); s.Serves != Fingerprint(m.inter.cert) {
				t.Error("it does not report what it serves")
			}
			if name == "by the ConfigMap" {
				m.clock.now = m.clock.now.Add(spreadTime)
				m.authority.Reload()
				if s := m.authority.Signs(); s.Serves != Fingerprint(next.cert) {
					t.Error("the former intermediate is needed for as long as the certificate is served")
				}
				return
			}
			m.require(t, []*authority{next}, []*authority{next})
			if m.authority.own == served {
				t.Error("a certificate that nobody can verify is served")
			}
		})
	}
}

// TestAReplicaThatStartsMeanwhile has no earlier intermediate. It serves, and signs nothing that peers would
// refuse; after a while it signs in any case.
func TestAReplicaThatStartsMeanwhile(t *testing.T) {
	m := newMesh(t)
	now := m.clock.now
	m.require(t, []*authority{m.inter}, []*authority{m.inter})
	next := certify(t, m.root, "renewed", now.Add(-time.Hour), now.Add(200*time.Hour), constrained(domain))
	m.putAuthority(m.root, next)
	open := func() *Authority {
		a := m.open(t)
		must(t, a.Ready())
		if _, err := a.signer(); !errors.Is(err, errHeld) {
			t.Fatalf("it signs before its intermediate is distributed: %v", err)
		}
		return a
	}
	a := open()
	addr := listen(t, a.ServerTLS())
	config := &tls.Config{ServerName: serverName, RootCAs: pool(next.cert), Time: m.clock.Now, Certificates: []tls.Certificate{*pair(t, m.inter, now, nil)}}
	if got, err := greeting(addr, config); err != nil || got != "web-1" {
		t.Errorf("a proxy does not get its configuration: %q, %v", got, err)
	}
	m.require(t, []*authority{m.inter, next}, []*authority{m.inter, next})
	a.Reload()
	if _, err := a.signer(); err != nil {
		t.Errorf("it does not sign although its intermediate is distributed: %v", err)
	}

	m.require(t, []*authority{m.inter}, []*authority{m.inter})
	a = open()
	m.clock.now = now.Add(holdFor)
	if _, err := a.signer(); err != nil {
		t.Errorf("it does not sign although nobody distributes its intermediate: %v", err)
	}
}

// TestAHeldSignerSaysSo: an agent that asks meanwhile is told to come back.
func TestAHeldSignerSaysSo(t *testing.T) {
	m := newMesh(t)
	now := m.clock.now
	m.require(t, []*authority{m.inter}, nil)
	m.authority = m.open(t)
	s := &Signer{opts: SignerOptions{Authority: m.authority, TrustDomain: domain, Now: m.clock.Now, Lifetime: func() time.Duration { return 0 }}}
	_, _, no := s.sign(somebody(), newKey(t).Public(), time.Hour)
	if no == nil || no.Status != http.StatusServiceUnavailable || no.Retry == 0 || !strings.Contains(no.Message, "being distributed") {
		t.Errorf("%+v", no)
	}
	m.clock.now = now.Add(holdFor)
	if _, _, no = s.sign(somebody(), newKey(t).Public(), time.Hour); no != nil {
		t.Errorf("%+v", no)
	}
}
