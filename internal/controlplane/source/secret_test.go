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
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, key.Public(), key)
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
