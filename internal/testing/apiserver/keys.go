// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package apiserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// keys are files: an authority, and one certificate for everybody, who is an administrator.
type keys struct{ ca, cert, key, pub string }

func writeKeys(dir string) (keys, error) {
	k := keys{
		ca: filepath.Join(dir, "ca.crt"), cert: filepath.Join(dir, "all.crt"),
		key: filepath.Join(dir, "all.key"), pub: filepath.Join(dir, "all.pub"),
	}
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return k, fmt.Errorf("make key: %w", err)
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return k, fmt.Errorf("make key: %w", err)
	}
	now := time.Now()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &signer.PublicKey, signer)
	if err != nil {
		return k, fmt.Errorf("sign: %w", err)
	}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &own.PublicKey, signer)
	if err != nil {
		return k, fmt.Errorf("sign: %w", err)
	}
	private, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		return k, fmt.Errorf("marshal key: %w", err)
	}
	public, err := x509.MarshalPKIXPublicKey(&own.PublicKey)
	if err != nil {
		return k, fmt.Errorf("marshal key: %w", err)
	}
	for _, f := range []struct {
		path, kind string
		der        []byte
	}{
		{k.ca, "CERTIFICATE", caDER},
		{k.cert, "CERTIFICATE", leafDER},
		{k.key, "EC PRIVATE KEY", private},
		{k.pub, "PUBLIC KEY", public},
	} {
		text := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})
		if err := os.WriteFile(f.path, text, 0o600); err != nil {
			return k, fmt.Errorf("write %s: %w", f.path, err)
		}
	}
	return k, nil
}
