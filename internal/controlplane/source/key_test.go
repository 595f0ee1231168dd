// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// crafted is an RSA key with numbers of chosen lengths in bits: crypto/x509 computes with the primes before it
// checks anything. wrapped puts it into PKCS #8.
func crafted(t testing.TB, modulus, prime int, wrapped bool) []byte {
	t.Helper()
	odd := func(bits int) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		return n.Add(n, big.NewInt(1))
	}
	three := big.NewInt(3)
	der, err := asn1.Marshal(struct {
		V                        int
		N                        *big.Int
		E                        int
		D, P, Q, DP, DQ, Inverse *big.Int
	}{0, odd(modulus), 65537, three, odd(prime), three, three, three, three})
	if err != nil {
		t.Fatal(err)
	}
	if !wrapped {
		return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})
	}
	der, err = asn1.Marshal(struct {
		V    int
		Algo struct {
			OID  asn1.ObjectIdentifier
			Null asn1.RawValue
		}
		Key []byte
	}{0, struct {
		OID  asn1.ObjectIdentifier
		Null asn1.RawValue
	}{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 1}, asn1.NullRawValue}, der})
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// slow is an RSA key without the numbers that are made of its primes: crypto/x509 then computes them, before it
// looks whether the primes are any.
func slow(t testing.TB, bits int) []byte {
	t.Helper()
	p := new(big.Int).SetBit(big.NewInt(1), bits-1, 1)
	three := big.NewInt(3)
	der, err := asn1.Marshal(struct {
		V       int
		N       *big.Int
		E       int
		D, P, Q *big.Int
	}{0, new(big.Int).SetBit(big.NewInt(1), 64, 1), 65537, three, p, three})
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: der})
}

func tlsSecret(cert, key []byte) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "b"}, Data: map[string][]byte{"tls.crt": cert, "tls.key": key}}
}

// TestCraftedKeys: a Secret that takes seconds to parse is refused without being parsed (S2).
func TestCraftedKeys(t *testing.T) {
	cert, key := pair(t, ecKey(t))
	ecParameters := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 1, 1}})
	for name, c := range map[string]struct {
		cert, key []byte
		problem   string
	}{
		"seconds to parse":                   {cert, slow(t, 16384), "a number of 16384 bits where at most 4096"},
		"a small one of the same form":       {cert, slow(t, 1024), "can't be read"},
		"a large modulus":                    {cert, crafted(t, 16384, 1024, false), "16384 bits, more than the 8192"},
		"a large prime":                      {cert, crafted(t, 2048, 16384, false), "a number of 16384 bits where at most 4096"},
		"a large prime in PKCS #8":           {cert, crafted(t, 2048, 16384, true), "a number of 16384 bits where at most 4096"},
		"a large prime after another block":  {cert, append(ecParameters, crafted(t, 2048, 16384, false)...), "a number of 16384 bits"},
		"a prime that is as long as the key": {cert, crafted(t, 8192, 8192, false), "a number of 8192 bits where at most 4096"},
		"more than a key may have":           {cert, crafted(t, 2048, 200_000, false), "tls.key is larger than 16 KiB"},
		"a long chain":                       {bytes.Repeat(cert, 200), key, "tls.crt is larger than 64 KiB"},
		"half a key":                         {cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte{0x30, 3, 2, 1, 0}}), "can't be read"},
		"a number":                           {cert, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: []byte{2, 1, 0}}), "can't be read"},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			got := TLSSecretFrom(tlsSecret(c.cert, c.key))
			if took := time.Since(began); took > 100*time.Millisecond {
				t.Errorf("took %s", took)
			}
			if !strings.Contains(got.Problem, c.problem) || got.Certificate != "" || len(got.PrivateKey) > 0 {
				t.Errorf("problem %q, want %q", got.Problem, c.problem)
			}
		})
	}
}

// TestKeySizes: what certificates usually have is usable, up to the largest that cert-manager makes.
func TestKeySizes(t *testing.T) {
	for _, bits := range []int{2048, 4096} {
		key, err := rsa.GenerateKey(rand.Reader, bits)
		if err != nil {
			t.Fatal(err)
		}
		cert, text := pair(t, key)
		if got := TLSSecretFrom(tlsSecret(cert, text)); got.Problem != "" {
			t.Errorf("RSA with %d bits: %s", bits, got.Problem)
		}
	}
	if _, problem := checkedKey([]byte("x"), crafted(t, 8192, 4096, true)); problem != "" {
		t.Errorf("RSA with 8192 bits: %s", problem)
	}
}

// FuzzTLSSecret: whatever is in a Secret, it is judged at once, nothing panics, and what is wrong is told without
// quoting it.
func FuzzTLSSecret(f *testing.F) {
	cert, key := pair(f, ecKey(f))
	f.Add(cert, key)
	f.Add(bytes.Repeat(cert, 2), key)
	f.Add(bytes.Replace(cert, []byte("\n"), []byte("\nA: b\n\n"), 1), key)
	f.Add(cert, slow(f, 16384))
	f.Add(cert, crafted(f, 2048, 1024, true))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), []byte("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, cert, key []byte) {
		began := time.Now()
		got := TLSSecretFrom(tlsSecret(cert, key))
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
		if (got.Problem == "") != (len(got.PrivateKey) > 0) {
			t.Errorf("problem %q with a key of %d bytes", got.Problem, len(got.PrivateKey))
		}
		if len(got.Problem) > 1000 {
			t.Errorf("a problem of %d bytes", len(got.Problem))
		}
		if again := TLSSecretFrom(tlsSecret([]byte(got.Certificate), []byte(got.PrivateKey))); got.Problem == "" && (again.Problem != "" || again.Certificate != got.Certificate) {
			t.Errorf("what is kept reads differently: %q", again.Problem)
		}
	})
}

// FuzzCABundle is the same for certificates of authorities in a ConfigMap.
func FuzzCABundle(f *testing.F) {
	f.Add(authority(f, "a", time.Now().Add(time.Hour)))
	f.Add("-----BEGIN EC PRIVATE KEY-----\nc2VjcmV0\n-----END EC PRIVATE KEY-----\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := CABundleFrom(configMap("shop", map[string]string{CAKey: text}))
		if !ok || (got.Problem == "") != (got.Certificates() != "") || len(got.Problem) > 1000 {
			t.Errorf("ok %v, problem %q, %d bytes of certificates", ok, got.Problem, len(got.Certificates()))
		}
		if again, problem := certificatesOf(CAKey, got.Certificates()); got.Problem == "" && (problem != "" || again != got.Certificates()) {
			t.Errorf("what is kept reads differently: %q", problem)
		}
		bundle := TrustBundleFrom(&certificatesv1.ClusterTrustBundle{Spec: certificatesv1.ClusterTrustBundleSpec{TrustBundle: text}})
		if bundle.Certificates() != got.Certificates() || (bundle.Problem == "") != (got.Problem == "") {
			t.Errorf("a ClusterTrustBundle reads differently: %q", bundle.Problem)
		}
	})
}

// BenchmarkLargestKey is the most that a Secret of an accepted size costs: an RSA key of 8192 bits.
func BenchmarkLargestKey(b *testing.B) {
	cert, _ := pair(b, ecKey(b))
	s := tlsSecret(cert, crafted(b, 8192, 4096, false))
	for b.Loop() {
		TLSSecretFrom(s)
	}
}
