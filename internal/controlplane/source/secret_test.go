// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pair makes a self-signed certificate.
func pair(t testing.TB, key crypto.Signer) (cert, keyPEM []byte) {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a"}, NotAfter: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestTLSSecretFrom: what a proxy could not use is a problem, and no problem gives away the key.
func TestTLSSecretFrom(t *testing.T) {
	cert, key := pair(t, ecKey(t))
	other, _ := pair(t, ecKey(t))
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	shortCert, shortKey := pair(t, short)
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p224Cert, p224Key := pair(t, p224)
	for name, c := range map[string]struct {
		data    map[string][]byte
		problem string
	}{
		"good":               {map[string][]byte{"tls.crt": cert, "tls.key": key}, ""},
		"no certificate":     {map[string][]byte{"tls.key": key}, "tls.crt is missing"},
		"no key":             {map[string][]byte{"tls.crt": cert}, "tls.key is missing"},
		"of different pairs": {map[string][]byte{"tls.crt": other, "tls.key": key}, "not usable together"},
		"no PEM":             {map[string][]byte{"tls.crt": []byte("x"), "tls.key": key}, "not usable together"},
		"out of order":       {map[string][]byte{"tls.crt": slices.Concat(other, cert), "tls.key": key}, "the one of tls.key, which is at place 2: put it first"},
		"cut off":            {map[string][]byte{"tls.crt": slices.Concat(cert, other[:len(other)-40]), "tls.key": key}, "one is cut off or damaged"},
		"damaged":            {map[string][]byte{"tls.crt": slices.Concat(cert, []byte("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"), other), "tls.key": key}, "one is cut off or damaged"},
		"encrypted":          {map[string][]byte{"tls.crt": cert, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})}, "tls.key is encrypted"},
		"encrypted, old":     {map[string][]byte{"tls.crt": cert, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED"}, Bytes: []byte("x")})}, "tls.key is encrypted"},
		"P-224":              {map[string][]byte{"tls.crt": p224Cert, "tls.key": p224Key}, "curve P-224, which proxies do not support"},
		"a short key":        {map[string][]byte{"tls.crt": shortCert, "tls.key": shortKey}, "fewer than 2048"},
	} {
		t.Run(name, func(t *testing.T) {
			got := TLSSecretFrom(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}, Data: c.data})
			if c.problem == "" && got.Problem != "" || !strings.Contains(got.Problem, c.problem) {
				t.Errorf("problem %q, want %q", got.Problem, c.problem)
			}
			if ends := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC); (got.Problem == "") != got.Ends.Equal(ends) {
				t.Errorf("ends at %s, problem %q", got.Ends, got.Problem)
			}
			if (got.Problem == "") != (got.Certificate == string(cert) && string(got.PrivateKey) == string(key)) {
				t.Errorf("a certificate is kept only when it is usable: %q", got.Problem)
			}
			if printed := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(printed, "PRIVATE") {
				t.Error("the key shows when printed")
			}
		})
	}
}

// TestIssuersEnd: of the issuers' certificates in a chain those count that lead to a root.
func TestIssuersEnd(t *testing.T) {
	key := ecKey(t)
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	cert := func(subject, issuer string, ends int) []byte {
		t.Helper()
		of := func(name string) *x509.Certificate {
			return &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: day(ends)}
		}
		der, err := x509.CreateCertificate(rand.Reader, of(subject), of(issuer), key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	leaf := cert("leaf", "A", 20)
	for name, c := range map[string]struct {
		chain [][]byte
		want  time.Time
	}{
		"none":                 {nil, time.Time{}},
		"one":                  {[][]byte{cert("A", "root", 9)}, day(9)},
		"two":                  {[][]byte{cert("A", "B", 9), cert("B", "root", 7)}, day(7)},
		"in another order":     {[][]byte{cert("B", "root", 7), cert("A", "B", 9)}, day(7)},
		"beside a renewed one": {[][]byte{cert("A", "root", 3), cert("A", "root", 9)}, day(9)},
		"a root":               {[][]byte{cert("A", "root", 9), cert("root", "root", 3)}, day(9)},
		"of no use":            {[][]byte{cert("A", "root", 9), cert("other", "root", 3)}, day(9)},
		"in a circle":          {[][]byte{cert("A", "B", 9), cert("B", "A", 8)}, day(8)},
	} {
		got := TLSSecretFrom(&corev1.Secret{Data: map[string][]byte{"tls.crt": slices.Concat(leaf, slices.Concat(c.chain...)), "tls.key": keyPEM}})
		if got.Problem != "" || !got.IssuersEnd.Equal(c.want) || !got.Ends.Equal(day(20)) {
			t.Errorf("%s: %q, the issuers' certificates end at %s, want %s", name, got.Problem, got.IssuersEnd, c.want)
		}
	}
}

// TestSecretOfAnotherType: nothing of it is kept, and its type is shown as far as it is not long.
func TestSecretOfAnotherType(t *testing.T) {
	cert, key := pair(t, ecKey(t))
	for shown, s := range map[string]corev1.SecretType{`"Opaque"`: corev1.SecretTypeOpaque, strings.Repeat("x", 64) + `..."`: corev1.SecretType(strings.Repeat("x", 1000))} {
		got := SecretFrom(&corev1.Secret{Type: s, Data: map[string][]byte{"tls.crt": cert, "tls.key": key}})
		if !got.OtherType || got.Certificate != "" || got.PrivateKey != "" || !strings.Contains(got.Problem, shown) || len(got.Problem) > 300 {
			t.Errorf("%+v", got)
		}
	}
	if got := SecretFrom(&corev1.Secret{Type: corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": cert, "tls.key": key}}); got.Problem != "" || got.OtherType {
		t.Errorf("%+v", got)
	}
}
