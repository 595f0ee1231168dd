// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/testing/cluster"
)

// tlsOutside: plain HTTP becomes TLS with the right server name, and only to who can prove to be it.
func tlsOutside(t *testing.T, s shop, r recipe) {
	// Nobody on the web has signed for a server of a test.
	s.apply(t, r, "192.0.2.10", s.outside)
	s.payments(t, "an authority that is not known", 503)

	private := regexp.MustCompile("`(caCertificateRefs: .*?)`").FindStringSubmatch(r.text)
	if private == nil {
		t.Fatal("the guide does not say any more how to name a private authority")
	}
	changes := []string{"192.0.2.10", s.outside, "wellKnownCACertificates: System", private[1]}
	s.begin(t, r, changes...)
	s.payments(t, "an authority that is missing", 503)
	bundle := "{apiVersion: v1, kind: ConfigMap, metadata: {name: payments-ca, namespace: %s}, data: {ca.crt: %q}}"
	s.c.MustApply(t, bundle, s.ns, s.authority.pem)
	s.apply(t, r, changes...)
	if d := s.payments(t, "the right authority", 200); echoOf(t, d.Text).TLS != "payments.example.com" {
		t.Errorf("the server was asked for %q", d.Text)
	}
	s.apply(t, r, append(changes, "payments.example.com", "elsewhere.example.com")...)
	s.payments(t, "the certificate of somebody else", 503)
	s.apply(t, r, changes...)
	s.payments(t, "the right name again", 200)
	s.c.MustApply(t, bundle, s.ns, "no certificate")
	s.payments(t, "an authority that is broken", 503)
}

// payments asks for Service payments until the answer has that status; it must never be 200 where it is to be refused.
func (s shop) payments(t *testing.T, with string, status int) dialed {
	t.Helper()
	var d dialed
	cluster.Eventually(t, 30*time.Second, "payments with "+with, func() error {
		if d = s.frontend.dial(t, "http", "-timeout", "5s", "http://payments/"); d.Error != "" || d.Status != status {
			return fmt.Errorf("%d %s %s", d.Status, strings.TrimSpace(d.Text), d.Error)
		}
		return nil
	})
	return d
}
