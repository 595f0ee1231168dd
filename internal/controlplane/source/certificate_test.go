// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// certificateWith creates a self-signed certificate; with is applied to its template.
func certificateWith(t testing.TB, key crypto.Signer, with func(*x509.Certificate)) []byte {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "a"}, NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"a.example"}}
	with(c)
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// TestCertificatesEnvoyRefuses: what Go reads and Envoy refuses is a problem at each place of a chain, and in a
// ConfigMap of authorities. test/envoy TestCertificates asks Envoy.
func TestCertificatesEnvoyRefuses(t *testing.T) {
	key := ecKey(t)
	_, keyText := pair(t, key)
	good := certificateWith(t, key, func(*x509.Certificate) {})
	replaced := func(old, by string) []byte {
		t.Helper()
		if len(old) != len(by) || !bytes.Contains(good, []byte(old)) {
			t.Fatalf("%q is not in the certificate, or %q is not as long", old, by)
		}
		return bytes.Replace(good, []byte(old), []byte(by), 1)
	}
	const version3 = "\xa0\x03\x02\x01\x02"
	for name, c := range map[string]struct {
		der     []byte
		problem string // empty: none
		leaf    bool   // refused as the first one only
	}{
		"good":       {good, "", false},
		"version 1":  {replaced(version3, "\xa0\x03\x02\x01\x00"), "has version 1 and extensions", false},
		"version 2":  {replaced(version3, "\xa0\x03\x02\x01\x01"), "has version 2 and extensions", false},
		"empty name": {certificateWith(t, key, func(c *x509.Certificate) { c.RawSubject = []byte{0x30, 2, 0x31, 0} }), "an empty part", false},
		"noncharacter": {
			certificateWith(t, key, func(c *x509.Certificate) { c.Subject.CommonName = "\uffff" }), "a code point that is no character", false,
		},
		"key usage": {
			certificateWith(t, key, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign }), "a key usage without digitalSignature", true,
		},
		"must-staple": {
			certificateWith(t, key, func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{{Id: oidTLSFeature, Value: mustStaple}}
			}), "must-staple", true,
		},
		"no names":     {certificateWith(t, key, func(c *x509.Certificate) { c.Subject, c.DNSNames = pkix.Name{}, nil }), "neither a common name nor", true},
		"unreadable":   {[]byte{0x30, 0}, "", true},
		"alternatives": {certificateWith(t, key, func(c *x509.Certificate) { c.Subject = pkix.Name{} }), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			check := func(got, where, want string) {
				t.Helper()
				if want == "" && got != "" || !strings.Contains(got, want) || want != "" && !strings.Contains(got, where) {
					t.Errorf("problem %q, want %q %q", got, where, want)
				}
			}
			issuer := c.problem
			if c.leaf {
				issuer = ""
			}
			if name == "unreadable" {
				issuer = "can't be read"
			} else {
				check(TLSSecretFrom(tlsSecret([]byte(certificateText([][]byte{c.der})), keyText)).Problem, "certificate 1 in tls.crt", c.problem)
			}
			check(TLSSecretFrom(tlsSecret([]byte(certificateText([][]byte{good, c.der})), keyText)).Problem, "certificate 2 in tls.crt", issuer)
			bundle, _ := CABundleFrom(configMap("shop", map[string]string{CAKey: certificateText([][]byte{good, c.der})}))
			check(bundle.Problem, "certificate 2 in ca.crt", issuer)
		})
	}
}

// TestTimesOfCertificates: Go reads times that Envoy refuses.
func TestTimesOfCertificates(t *testing.T) {
	for text, ok := range map[string]bool{
		"\x17\x0d260101000000Z": true, "\x17\x11260101000000+0100": true, "\x17\x0b2601010000Z": false, "\x17\x0f2601010000+0100": false,
		"\x18\x0f20260101000000Z": true, "\x18\x1320260101000000+0100": false,
	} {
		if problem := checkTimes([]byte(text)); (problem == "") != ok {
			t.Errorf("%q: %q", text, problem)
		}
	}
}

// TestSecretIsEncodedAgain: Envoy gets what was checked, whatever else is in the Secret.
func TestSecretIsEncodedAgain(t *testing.T) {
	cert, key := pair(t, ecKey(t))
	other := func(label string) []byte { return pem.EncodeToMemory(&pem.Block{Type: label, Bytes: []byte{1}}) }
	block, _ := pem.Decode(key)
	for name, s := range map[string][2][]byte{
		"other blocks":  {append(other("X509 CERTIFICATE"), append(bytes.Clone(cert), other("TRUSTED CERTIFICATE")...)...), append(bytes.Clone(key), other("EC PRIVATE KEY")...)},
		"another label": {cert, pem.EncodeToMemory(&pem.Block{Type: "ANY PRIVATE KEY", Bytes: block.Bytes})},
		"headers":       {cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Headers: map[string]string{"A": "b"}, Bytes: block.Bytes})},
	} {
		got := TLSSecretFrom(tlsSecret(s[0], s[1]))
		if got.Problem != "" || got.Certificate != string(cert) || string(got.PrivateKey) != string(key) {
			t.Errorf("%s: problem %q, not what was checked", name, got.Problem)
		}
	}
}
