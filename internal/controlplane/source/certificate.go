// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"strings"
	"unicode/utf8"
)

// readCertificate reads one certificate and checks what Envoy refuses and Go does not. A problem is what follows
// the certificate's name in a sentence.
func readCertificate(der []byte) (c *x509.Certificate, problem string) {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, "can't be read: " + strings.TrimPrefix(err.Error(), "x509: ")
	}
	if problem := checkVersion(c); problem != "" {
		return nil, problem
	}
	for _, name := range [][]byte{c.RawSubject, c.RawIssuer} {
		if problem := checkName(name); problem != "" {
			return nil, problem
		}
	}
	return c, ""
}

// Tags of context in a TBSCertificate (RFC 5280, 4.1).
const (
	tagVersion    = 0
	tagExtensions = 3
)

// checkVersion checks the times and the fields that depend on the version: Go skips those that the version does
// not have.
func checkVersion(c *x509.Certificate) (problem string) {
	const again = "create it again with version 3"
	var tbs asn1.RawValue
	if _, err := asn1.Unmarshal(c.RawTBSCertificate, &tbs); err != nil {
		return "can't be read"
	}
	sequences := 0
	for rest := tbs.Bytes; len(rest) > 0; {
		var v asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &v); err != nil {
			return "can't be read"
		}
		switch {
		case v.Class == asn1.ClassContextSpecific && v.Tag == tagVersion:
		case v.Class == asn1.ClassContextSpecific && v.Tag == tagExtensions:
			if c.Version != 3 {
				return fmt.Sprintf("has version %d and extensions, which only version 3 has: %s", c.Version, again)
			}
		case v.Class == asn1.ClassContextSpecific:
			if c.Version == 1 {
				return "has version 1 and unique identifiers, which version 1 does not have: " + again
			}
		case v.Tag == asn1.TagSequence:
			if sequences++; sequences == 3 { // after the algorithm and the issuer
				if problem := checkTimes(v.Bytes); problem != "" {
					return problem
				}
			}
		}
	}
	return ""
}

// checkTimes checks the form of notBefore and notAfter.
func checkTimes(validity []byte) (problem string) {
	for rest := validity; len(rest) > 0; {
		var v asn1.RawValue
		var err error
		if rest, err = asn1.Unmarshal(rest, &v); err != nil {
			return "can't be read"
		}
		ok := len(v.Bytes) == len("20060102150405Z")
		if v.Tag == asn1.TagUTCTime {
			ok = len(v.Bytes) == len("060102150405Z") || len(v.Bytes) == len("060102150405-0700")
		}
		if !ok {
			return fmt.Sprintf("has the time %q, whose form proxies do not support: create it again with times of UTC that have seconds", v.Bytes)
		}
	}
	return ""
}

// checkName checks a distinguished name.
func checkName(name []byte) (problem string) {
	const again = "create it again with another name"
	var rdns []asn1.RawValue
	if _, err := asn1.Unmarshal(name, &rdns); err != nil {
		return "can't be read"
	}
	for _, rdn := range rdns {
		if len(rdn.Bytes) == 0 {
			return "has a subject or issuer with an empty part: " + again
		}
		for rest := rdn.Bytes; len(rest) > 0; {
			var a struct {
				Type  asn1.ObjectIdentifier
				Value asn1.RawValue
			}
			var err error
			if rest, err = asn1.Unmarshal(rest, &a); err != nil {
				return "can't be read"
			}
			if a.Value.Tag == asn1.TagUTF8String && bytes.ContainsFunc(a.Value.Bytes, noncharacter) {
				return "has a subject or issuer with a code point that is no character: " + again
			}
			if a.Value.Tag == tagUniversalString && !universal(a.Value.Bytes) {
				return "has a subject or issuer with a UniversalString that is not one: " + again
			}
		}
	}
	return ""
}

// tagUniversalString is a string of code points of four bytes (X.680, 8.23).
const tagUniversalString = 28

// universal reports whether b is a UniversalString of characters. Since 1.27 Go takes any bytes for one.
func universal(b []byte) bool {
	for ; len(b) >= 4; b = b[4:] {
		if n := binary.BigEndian.Uint32(b); n > utf8.MaxRune || !utf8.ValidRune(rune(n)) || noncharacter(rune(n)) {
			return false
		}
	}
	return len(b) == 0
}

// noncharacter reports whether Unicode reserves a code point for internal use.
func noncharacter(r rune) bool {
	return r&0xfffe == 0xfffe || r >= 0xfdd0 && r <= 0xfdef
}

var (
	oidCommonName = asn1.ObjectIdentifier{2, 5, 4, 3}
	oidKeyUsage   = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidTLSFeature = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}
	// mustStaple is the TLS feature status_request alone (RFC 7633).
	mustStaple = []byte{0x30, 3, 2, 1, 5}
)

// checkServed checks what Envoy demands only of the certificate that it proves to have.
func checkServed(c *x509.Certificate) (problem string) {
	for _, e := range c.Extensions {
		switch {
		case e.Id.Equal(oidTLSFeature) && bytes.Equal(e.Value, mustStaple):
			return "demands a stapled OCSP response (must-staple), which proxies do not have: create it again without the TLS feature extension"
		case e.Id.Equal(oidKeyUsage):
			var usage asn1.BitString
			rest, err := asn1.Unmarshal(e.Value, &usage)
			if _, ec := c.PublicKey.(*ecdsa.PublicKey); ec && (err != nil || len(rest) > 0 || usage.At(0) == 0) {
				return "has an ECDSA key and a key usage without digitalSignature, which TLS needs: create it again with this key usage"
			}
		}
	}
	for _, name := range c.Subject.Names {
		if name.Type.Equal(oidCommonName) {
			if name.Value == "" {
				return "has an empty common name: create it again with a name, or without a common name and with a DNS name"
			}
			return ""
		}
	}
	if len(c.DNSNames)+len(c.IPAddresses)+len(c.URIs) == 0 {
		return "has neither a common name nor a subject alternative name of type DNS, IP address or URI: create it again with the DNS name of its listener"
	}
	return ""
}

// certificateText encodes certificates as PEM without what else may be in a Secret: Go skips headers and blocks of
// other types, and Envoy reads some of these, or refuses the whole.
func certificateText(chain [][]byte) string {
	var out strings.Builder
	for _, der := range chain {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return out.String()
}
