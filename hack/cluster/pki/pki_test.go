// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"
	"time"

	"tulle.dev/tulle/hack/cluster/layout"
)

func TestEnsure(t *testing.T) {
	l, err := layout.New("two", 7, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := Ensure(l, time.Now()); err != nil {
		t.Fatal(err)
	}
	for ca, leaves := range plan(l) {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(read(t, l, ca+".crt"))
		for _, want := range leaves {
			pair, err := tls.LoadX509KeyPair(filepath.Join(l.PKI(), want.file+".crt"), filepath.Join(l.PKI(), want.file+".key"))
			if err != nil {
				t.Fatal(err)
			}
			cert := pair.Leaf
			if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err != nil {
				t.Errorf("%s: %v", want.file, err)
			}
			if cert.Subject.CommonName != want.commonName {
				t.Errorf("%s is %q, want %q", want.file, cert.Subject.CommonName, want.commonName)
			}
			for _, ip := range want.ips {
				if err := cert.VerifyHostname(ip.String()); err != nil {
					t.Errorf("%s: %v", want.file, err)
				}
			}
		}
	}
	// The authorities are apart: an etcd client is no administrator.
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(read(t, l, "ca.crt"))
	pair, err := tls.LoadX509KeyPair(filepath.Join(l.PKI(), "etcd-client.crt"), filepath.Join(l.PKI(), "etcd-client.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err == nil {
		t.Error("a certificate of etcd's authority passes as one of the API server's")
	}
}

// A second Ensure keeps everything; one over a half-made set makes a whole one.
func TestEnsureAgain(t *testing.T) {
	l, err := layout.New("two", 7, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.PKI()+".new", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.PKI()+".new", "ca.crt"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Ensure(l, time.Now()); err != nil {
		t.Fatal(err)
	}
	first := string(read(t, l, "ca.crt"))
	if first == "half" {
		t.Fatal("kept a half-made authority")
	}
	if err := Ensure(l, time.Now()); err != nil {
		t.Fatal(err)
	}
	if string(read(t, l, "ca.crt")) != first {
		t.Error("the second Ensure made another authority")
	}
	for _, key := range []string{"ca.key", "sa.key", "admin.key"} {
		info, err := os.Stat(filepath.Join(l.PKI(), key))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", key, info.Mode().Perm())
		}
	}
}

func read(t *testing.T, l layout.Layout, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(l.PKI(), name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}
