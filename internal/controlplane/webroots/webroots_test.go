// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package webroots

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

// TestPEM: every certificate can be read and is an authority, there are about as many as browsers have,
// and a well-known one is among them.
func TestPEM(t *testing.T) {
	rest, n, known := []byte(PEM()), 0, false
	for {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if !c.IsCA && c.Version == 3 {
			t.Errorf("%s is no authority", c.Subject)
		}
		n++
		known = known || c.Subject.CommonName == "ISRG Root X1"
	}
	if n < 80 || n > 250 || !known || strings.TrimSpace(string(rest)) != "" {
		t.Errorf("%d certificates, ISRG Root X1 among them: %v", n, known)
	}
}
