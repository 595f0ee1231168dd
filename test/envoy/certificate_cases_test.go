// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// served is what a Secret of type kubernetes.io/tls holds.
type served struct{ chain, key string }

// keys of which a test has one each: RSA keys take long to generate.
type certificateKeys struct{ p224, p256, p384, p521, rsa1024, rsa2040, rsa2048, rsa3072, ed25519 crypto.Signer }

func newCertificateKeys(t *testing.T) (k certificateKeys) {
	t.Helper()
	ec := func(c elliptic.Curve) crypto.Signer {
		key, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	r := func(bits int) crypto.Signer {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return certificateKeys{
		p224: ec(elliptic.P224()), p256: ec(elliptic.P256()), p384: ec(elliptic.P384()), p521: ec(elliptic.P521()),
		rsa1024: r(1024), rsa2040: r(2040), rsa2048: r(2048), rsa3072: r(3072), ed25519: ed,
	}
}

// certificateOf creates a self-signed certificate; with is applied to its template.
func certificateOf(t *testing.T, key crypto.Signer, with func(*x509.Certificate)) []byte {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "www.example.com"}, DNSNames: []string{"www.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true,
	}
	if with != nil {
		with(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func certificatePEM(ders ...[]byte) string {
	var out strings.Builder
	for _, der := range ders {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	}
	return out.String()
}

func keyPEM(t *testing.T, key crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// The elements of a TBSCertificate that has a version and no unique identifiers (RFC 5280, 4.1).
const (
	tbsVersion = iota
	tbsSerial
	tbsAlgorithm
	tbsIssuer
	tbsValidity
	tbsSubject
	tbsKey
	tbsExtensions
)

// edited changes the elements of a TBSCertificate: for what crypto/x509 does not create. The signature is then
// wrong, which neither side looks at.
func edited(t *testing.T, der []byte, edit func(elements [][]byte) [][]byte) []byte {
	t.Helper()
	elements := func(of []byte) (out [][]byte) {
		for len(of) > 0 {
			var v asn1.RawValue
			rest, err := asn1.Unmarshal(of, &v)
			if err != nil {
				t.Fatal(err)
			}
			out, of = append(out, v.FullBytes), rest
		}
		return out
	}
	inside := func(of []byte) [][]byte {
		var v asn1.RawValue
		if _, err := asn1.Unmarshal(of, &v); err != nil {
			t.Fatal(err)
		}
		return elements(v.Bytes)
	}
	outer := inside(der)
	outer[0] = element(t, 0x30, edit(inside(outer[0]))...)
	return element(t, 0x30, outer...)
}

// element encodes one element of ASN.1.
func element(t *testing.T, tag byte, contents ...[]byte) []byte {
	t.Helper()
	out, err := asn1.Marshal(asn1.RawValue{Class: int(tag >> 6), Tag: int(tag & 0x1f), IsCompound: tag&0x20 != 0, Bytes: bytes.Join(contents, nil)})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func replaced(at int, by []byte) func([][]byte) [][]byte {
	return func(e [][]byte) [][]byte {
		e[at] = by
		return e
	}
}

var mustStaple = pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 3, 2, 1, 5}}

// certificateCases are certificates with their keys, usual and odd ones, by name.
func certificateCases(t *testing.T) map[string]served {
	t.Helper()
	k := newCertificateKeys(t)
	out := map[string]served{}
	add := func(name string, key crypto.Signer, with func(*x509.Certificate)) {
		out[name] = served{certificatePEM(certificateOf(t, key, with)), keyPEM(t, key)}
	}
	plain := certificateOf(t, k.p256, nil)
	edit := func(name string, by func([][]byte) [][]byte) {
		odd := edited(t, plain, by)
		out[name] = served{certificatePEM(odd), keyPEM(t, k.p256)}
		out[name+", second"] = served{certificatePEM(plain, odd), keyPEM(t, k.p256)}
	}
	for name, key := range map[string]crypto.Signer{
		"P-224": k.p224, "P-256": k.p256, "P-384": k.p384, "P-521": k.p521, "Ed25519": k.ed25519,
		"RSA 1024": k.rsa1024, "RSA 2040": k.rsa2040, "RSA 2048": k.rsa2048, "RSA 3072": k.rsa3072,
	} {
		add(name, key, nil)
		for usage, u := range map[string]x509.KeyUsage{
			"none": 0, "keyEncipherment": x509.KeyUsageKeyEncipherment, "keyAgreement": x509.KeyUsageKeyAgreement, "certSign": x509.KeyUsageCertSign,
			"decipherOnly": x509.KeyUsageDecipherOnly, "both": x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		} {
			add(name+", key usage "+usage, key, func(c *x509.Certificate) { c.KeyUsage = u })
		}
		out[name+", second"] = served{certificatePEM(plain, certificateOf(t, key, nil)), keyPEM(t, k.p256)}
	}
	out["second without digitalSignature"] = served{certificatePEM(plain, certificateOf(t, k.p384, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageCertSign })), keyPEM(t, k.p256)}
	out["second of must-staple"] = served{certificatePEM(plain, certificateOf(t, k.p384, func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{mustStaple} })), keyPEM(t, k.p256)}
	for name, ext := range map[string]pkix.Extension{
		"must-staple":                 mustStaple,
		"must-staple, critical":       {Id: mustStaple.Id, Critical: true, Value: mustStaple.Value},
		"must-staple, version 2":      {Id: mustStaple.Id, Value: []byte{0x30, 3, 2, 1, 17}},
		"TLS features of none":        {Id: mustStaple.Id, Value: []byte{0x30, 0}},
		"TLS features, unreadable":    {Id: mustStaple.Id, Value: []byte{1}},
		"unknown extension":           {Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: []byte{1}},
		"unknown critical extension":  {Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{1}},
		"empty extension":             {Id: asn1.ObjectIdentifier{1, 2, 3, 4}},
		"large extension":             {Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Value: make([]byte, 20000)},
		"poison of a precertificate":  {Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}, Critical: true, Value: []byte{5, 0}},
		"SCTs, unreadable":            {Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: []byte{1}},
		"policies, unreadable":        {Id: asn1.ObjectIdentifier{2, 5, 29, 32}, Value: []byte{1}},
		"policy mappings, unreadable": {Id: asn1.ObjectIdentifier{2, 5, 29, 33}, Value: []byte{1}},
		"policy constraints, bad":     {Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Value: []byte{1}},
		"freshest CRL, unreadable":    {Id: asn1.ObjectIdentifier{2, 5, 29, 46}, Value: []byte{1}},
		"proxy certificate":           {Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 14}, Critical: true, Value: []byte{0x30, 0}},
		"Netscape type, unreadable":   {Id: asn1.ObjectIdentifier{2, 16, 840, 1, 113730, 1, 1}, Value: []byte{1}},
		"issuer's names, unreadable":  {Id: asn1.ObjectIdentifier{2, 5, 29, 18}, Value: []byte{1}},
		"name constraints":            {Id: asn1.ObjectIdentifier{2, 5, 29, 30}, Critical: true, Value: []byte{0x30, 0}},
		"key usage, empty":            {Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Value: []byte{3, 1, 0}},
		"key usage, unused bits":      {Id: asn1.ObjectIdentifier{2, 5, 29, 15}, Value: []byte{3, 2, 0, 0x80}},
		"other kind of name":          {Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: element(t, 0x30, element(t, 0xa0, []byte{6, 2, 0x2a, 3}, element(t, 0xa0, []byte{12, 1, 'x'})))},
		"other name, unreadable":      {Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: element(t, 0x30, element(t, 0xa0, []byte{1}))},
		"directory name, unreadable":  {Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: element(t, 0x30, element(t, 0xa4, []byte{1}))},
		"name of an unknown tag":      {Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: element(t, 0x30, element(t, 0x8a, []byte{1}))},
		"registered ID, bad":          {Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: element(t, 0x30, element(t, 0x88, []byte{0x80}))},
		"no names":                    {Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: []byte{0x30, 0}},
		"empty DNS name":              {Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: element(t, 0x30, element(t, 0x82))},
		"DNS name with NUL":           {Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: element(t, 0x30, element(t, 0x82, []byte("a\x00b")))},
	} {
		add(name, k.p256, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{ext}
			if ext.Id.Equal(asn1.ObjectIdentifier{2, 5, 29, 15}) {
				c.KeyUsage = 0
			}
		})
	}
	for name, with := range map[string]func(*x509.Certificate){
		"client's extended key usage": func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} },
		"no extended key usage":       func(c *x509.Certificate) { c.ExtKeyUsage = nil },
		"an authority's":              func(c *x509.Certificate) { c.IsCA, c.MaxPathLen = true, 3 },
		"no subject":                  func(c *x509.Certificate) { c.Subject = pkix.Name{} },
		"no names at all":             func(c *x509.Certificate) { c.Subject, c.DNSNames = pkix.Name{}, nil },
		"address":                     func(c *x509.Certificate) { c.IPAddresses = []net.IP{{192, 0, 2, 1}, net.ParseIP("2001:db8::1")} },
		"long name":                   func(c *x509.Certificate) { c.DNSNames = []string{strings.Repeat("a", 3000) + ".example"} },
		"long common name":            func(c *x509.Certificate) { c.Subject.CommonName = strings.Repeat("a", 3000) },
		"many names":                  func(c *x509.Certificate) { c.DNSNames = slices.Repeat([]string{"a.example"}, 1500) },
		"expired":                     func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Unix(1, 0), time.Unix(2, 0) },
		"not yet": func(c *x509.Certificate) {
			c.NotBefore, c.NotAfter = time.Now().AddDate(1, 0, 0), time.Now().AddDate(2, 0, 0)
		},
		"ends before it begins": func(c *x509.Certificate) { c.NotBefore, c.NotAfter = time.Now(), time.Now().Add(-time.Hour) },
		"to the year 9999":      func(c *x509.Certificate) { c.NotAfter = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC) },
		"serial of 20 bytes":    func(c *x509.Certificate) { c.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 158) },
	} {
		add(name, k.p256, with)
	}
	add("RSA-PSS signature", k.rsa2048, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSAPSS })
	add("SHA-512 signature", k.rsa2048, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA512WithRSA })
	versions := func(name string, v []byte, extensions bool) {
		edit(name, func(e [][]byte) [][]byte {
			if e[tbsVersion] = element(t, 0xa0, []byte{2, 1, v[0]}); v[0] == 0 {
				e[tbsVersion] = nil
			}
			if len(v) > 1 {
				e[tbsVersion] = element(t, 0xa0, []byte{2, 1, 0})
			}
			if !extensions {
				e = e[:tbsExtensions]
			}
			return e
		})
	}
	versions("version 1 with extensions", []byte{0}, true)
	versions("version 1", []byte{0}, false)
	versions("version 1, written out", []byte{0, 0}, false)
	versions("version 2 with extensions", []byte{1}, true)
	versions("version 2", []byte{1}, false)
	versions("version 3 without extensions", []byte{2}, false)
	versions("version 4", []byte{3}, true)
	unique := func(name string, version byte, extensions bool) {
		edit(name, func(e [][]byte) [][]byte {
			if e[tbsVersion] = element(t, 0xa0, []byte{2, 1, version}); version == 0 {
				e[tbsVersion] = nil
			}
			last := e[tbsExtensions]
			if !extensions {
				last = nil
			}
			return append(e[:tbsExtensions:tbsExtensions], []byte{0x81, 2, 0, 1}, []byte{0x82, 2, 0, 1}, last)
		})
	}
	unique("unique identifiers", 2, true)
	unique("unique identifiers, version 2", 1, false)
	unique("unique identifiers, version 1", 0, false)
	edit("negative serial", replaced(tbsSerial, []byte{2, 1, 0x80}))
	edit("serial 0", replaced(tbsSerial, []byte{2, 1, 0}))
	edit("serial of 64 bytes", replaced(tbsSerial, element(t, 2, bytes.Repeat([]byte{1}, 64))))
	edit("serial of 4000 bytes", replaced(tbsSerial, element(t, 2, bytes.Repeat([]byte{1}, 4000))))
	edit("serial with a zero before it", replaced(tbsSerial, []byte{2, 2, 0, 1}))
	times := func(name string, from, to []byte) { edit(name, replaced(tbsValidity, element(t, 0x30, from, to))) }
	utc, general := func(s string) []byte { return element(t, 23, []byte(s)) }, func(s string) []byte { return element(t, 24, []byte(s)) }
	times("times", utc("260101000000Z"), utc("300101000000Z"))
	times("times without seconds", utc("2601010000Z"), utc("3001010000Z"))
	times("times with an offset", utc("260101000000+0100"), utc("300101000000+0100"))
	times("times without seconds, with an offset", utc("2601010000+0100"), utc("3001010000+0100"))
	times("general times before 2050", general("20260101000000Z"), general("20300101000000Z"))
	times("general times with an offset", general("20260101000000+0100"), general("20300101000000+0100"))
	times("general times with a fraction", general("20260101000000.5Z"), general("20300101000000.5Z"))
	times("the year 0", general("00000101000000Z"), general("99991231235959Z"))
	times("a leap second", utc("261231235960Z"), utc("301231235960Z"))
	times("February 30", utc("260230000000Z"), utc("300230000000Z"))
	times("hour 24", utc("260228240000Z"), utc("300228240000Z"))
	name := func(name string, rdns ...[]byte) {
		edit(name, replaced(tbsSubject, element(t, 0x30, rdns...)))
		edit(name+", issuer", replaced(tbsIssuer, element(t, 0x30, rdns...)))
	}
	attribute := func(tag byte, value string) []byte {
		return element(t, 0x31, element(t, 0x30, []byte{6, 3, 0x55, 4, 3}, element(t, tag, []byte(value))))
	}
	name("empty RDN", element(t, 0x31))
	for n, a := range map[string][]byte{
		"UTF8": attribute(12, "x"), "UTF8, invalid": attribute(12, "\xff"), "Printable": attribute(19, "x"), "Printable, invalid": attribute(19, "@*&_"),
		"T61": attribute(20, "\xff"), "IA5": attribute(22, "x"), "IA5, invalid": attribute(22, "\xff"), "BMP": attribute(30, "\x00x"),
		"BMP, odd": attribute(30, "x"), "BMP, surrogate": attribute(30, "\xd8\x00"), "BMP, pair": attribute(30, "\xd8\x00\xdc\x00"), "BMP, noncharacter": attribute(30, "\xff\xff"), "Universal": attribute(28, "\x00\x00\x00x"),
		"Universal, invalid": attribute(28, "x"), "Universal, surrogate": attribute(28, "\x00\x00\xd8\x00"), "Universal, noncharacter": attribute(28, "\x00\x01\xff\xff"),
		"Universal, beyond": attribute(28, "\x00\x11\x00\x00"), "Universal, negative": attribute(28, "\xff\x00\x00\x00"), "Numeric": attribute(18, "1"), "Numeric, invalid": attribute(18, "x"), "Visible": attribute(26, "x"),
		"a number": attribute(2, "\x01"), "a Boolean": attribute(1, "\xff"), "null": attribute(5, ""), "bits": attribute(3, "\x00\x01"), "empty": attribute(12, ""), "NUL": attribute(12, "a\x00b"),
		"UTF8, noncharacter": attribute(12, "\uffff"), "UTF8, surrogate": attribute(12, "\xed\xa0\x80"), "octets": attribute(4, "x"), "general string": attribute(27, "x"),
		"two in one": element(t, 0x31, element(t, 0x30, []byte{6, 3, 0x55, 4, 3}, element(t, 12, []byte("b"))), element(t, 0x30, []byte{6, 3, 0x55, 4, 3}, element(t, 12, []byte("a")))),
	} {
		name("name of "+n, a)
	}
	oddExtension := func(name string, ext ...[]byte) {
		edit(name, func(e [][]byte) [][]byte {
			e[tbsExtensions] = element(t, 0xa3, element(t, 0x30, ext...))
			return e
		})
	}
	oddExtension("no extension in the list")
	id := []byte{6, 3, 0x2a, 3, 4}
	oddExtension("critical, written out as false", element(t, 0x30, id, []byte{1, 1, 0}, []byte{4, 1, 0}))
	oddExtension("critical of value 1", element(t, 0x30, id, []byte{1, 1, 1}, []byte{4, 1, 0}))
	oddExtension("the same extension twice", element(t, 0x30, id, []byte{4, 1, 0}), element(t, 0x30, id, []byte{4, 1, 0}))
	oddExtension("key usage with trailing bytes", element(t, 0x30, []byte{6, 3, 0x55, 29, 15}, element(t, 4, []byte{3, 2, 7, 0x80, 0})))

	// Names by which Envoy tells contexts apart.
	for n, with := range map[string]func(*x509.Certificate){
		"e-mail address alone": func(c *x509.Certificate) { c.EmailAddresses = []string{"a@b.example"} },
		"address alone":        func(c *x509.Certificate) { c.IPAddresses = []net.IP{{192, 0, 2, 1}} },
		"URI alone":            func(c *x509.Certificate) { c.URIs = []*url.URL{{Scheme: "spiffe", Host: "a", Path: "/b"}} },
		"organization alone":   func(c *x509.Certificate) { c.Subject.Organization = []string{"a"} },
		"no names, list": func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: []byte{0x30, 0}}}
		},
		"empty DNS name alone": func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: element(t, 0x30, element(t, 0x82))}}
		},
		"staple and another": func(c *x509.Certificate) {
			c.Subject.CommonName, c.ExtraExtensions = "a", []pkix.Extension{{Id: mustStaple.Id, Value: []byte{0x30, 6, 2, 1, 5, 2, 1, 17}}}
		},
	} {
		add(n, k.p384, func(c *x509.Certificate) {
			c.Subject, c.DNSNames = pkix.Name{}, nil
			with(c)
		})
	}

	// The form of the text.
	key, cert := keyPEM(t, k.p256), certificatePEM(plain)
	sec1, err := x509.MarshalECPrivateKey(k.p256.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, _ := pem.Decode([]byte(key))
	block := func(label string, der []byte, headers map[string]string) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: label, Headers: headers, Bytes: der}))
	}
	rsaCert := certificatePEM(certificateOf(t, k.rsa2048, nil))
	pkcs1 := x509.MarshalPKCS1PrivateKey(k.rsa2048.(*rsa.PrivateKey))
	parameters := block("EC PARAMETERS", []byte{6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7}, nil)
	for n, s := range map[string]served{
		"SEC 1":                             {cert, block("EC PRIVATE KEY", sec1, nil)},
		"SEC 1 after parameters":            {cert, parameters + block("EC PRIVATE KEY", sec1, nil)},
		"SEC 1 labelled as PKCS 8":          {cert, block("PRIVATE KEY", sec1, nil)},
		"PKCS 8 labelled as SEC 1":          {cert, block("EC PRIVATE KEY", pkcs8.Bytes, nil)},
		"PKCS 8 labelled as RSA":            {cert, block("RSA PRIVATE KEY", pkcs8.Bytes, nil)},
		"PKCS 8 of another label":           {cert, block("ANY PRIVATE KEY", pkcs8.Bytes, nil)},
		"PKCS 8 with a header":              {cert, block("PRIVATE KEY", pkcs8.Bytes, map[string]string{"A": "b"})},
		"PKCS 1":                            {rsaCert, block("RSA PRIVATE KEY", pkcs1, nil)},
		"PKCS 1 labelled as PKCS 8":         {rsaCert, block("PRIVATE KEY", pkcs1, nil)},
		"certificate with a header":         {block("CERTIFICATE", plain, map[string]string{"A": "b"}), key},
		"second certificate with a header":  {cert + block("CERTIFICATE", plain, map[string]string{"A": "b"}), key},
		"text before":                       {"some text\n" + cert + "more text\n" + cert + "end\n", "some text\n" + key},
		"lines of Windows":                  {strings.ReplaceAll(cert, "\n", "\r\n"), strings.ReplaceAll(key, "\n", "\r\n")},
		"a key in tls.crt, before":          {key + cert, key},
		"a key in tls.crt, after":           {cert + key, key},
		"X509 CERTIFICATE before":           {block("X509 CERTIFICATE", certificateOf(t, k.p384, nil), nil) + cert, key},
		"X509 CERTIFICATE after":            {cert + block("X509 CERTIFICATE", []byte{1}, nil), key},
		"TRUSTED CERTIFICATE before":        {block("TRUSTED CERTIFICATE", certificateOf(t, k.p384, nil), nil) + cert, key},
		"TRUSTED CERTIFICATE after":         {cert + block("TRUSTED CERTIFICATE", []byte{1}, nil), key},
		"another kind of block, after":      {cert + block("PKCS7", []byte{1}, nil), key},
		"another kind of block, before":     {block("PKCS7", []byte{1}, nil) + cert, key},
		"one line":                          {oneLine(cert), oneLine(key)},
		"spaces at the ends of lines":       {strings.ReplaceAll(cert, "\n", "  \n"), strings.ReplaceAll(key, "\n", "  \n")},
		"spaces before lines":               {strings.ReplaceAll(cert, "\n", "\n ")[:len(strings.ReplaceAll(cert, "\n", "\n "))-1], key},
		"empty lines within":                {strings.ReplaceAll(cert, "\n", "\n\n"), strings.ReplaceAll(key, "\n", "\n\n")},
		"no newline at the end":             {strings.TrimSpace(cert), strings.TrimSpace(key)},
		"bytes after the certificate":       {certificatePEM(append(bytes.Clone(plain), 5, 0)), key},
		"bytes after the second":            {certificatePEM(plain, append(bytes.Clone(plain), 5, 0)), key},
		"not a certificate, second":         {certificatePEM(plain, []byte{0x30, 0}), key},
		"two keys":                          {cert, key + keyPEM(t, k.p384)},
		"another key first, of another use": {cert, block("PUBLIC KEY", []byte{1}, nil) + key},
		"PKCS 8 with bytes after it":        {cert, block("PRIVATE KEY", append(bytes.Clone(pkcs8.Bytes), 5, 0), nil)},
		"SEC 1 with bytes after it":         {cert, block("EC PRIVATE KEY", append(bytes.Clone(sec1), 5, 0), nil)},
		"UTF-8 mark before":                 {"\ufeff" + cert, "\ufeff" + key},
	} {
		out[n] = s
	}
	return out
}

// oneLine writes a PEM block's text without line breaks within it.
func oneLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	last := len(lines) - 1
	return lines[0] + "\n" + strings.Join(lines[1:last], "") + "\n" + lines[last] + "\n"
}
