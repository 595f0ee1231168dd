// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// Bounds of an RSA key, in bits. Above the upper one, checking a signature costs more CPU than a
// stranger should be able to make us spend.
const (
	minRSABits = 2048
	maxRSABits = 4096
)

// publicKey returns the key of a PEM certificate request after checking the key's kind and size and
// the proof of possession. Everything else in the request (names, extensions) is ignored.
func publicKey(csr string) (crypto.PublicKey, error) {
	block, rest := pem.Decode([]byte(csr))
	if block == nil {
		return nil, errors.New("csr is not PEM")
	}
	if block.Type != "CERTIFICATE REQUEST" {
		return nil, fmt.Errorf("csr is PEM of type %q, want CERTIFICATE REQUEST", block.Type)
	}
	if len(bytes.TrimSpace(rest)) != 0 {
		return nil, errors.New("csr holds more than one PEM block")
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("csr: %w", err)
	}
	switch key := req.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() {
			return nil, fmt.Errorf("csr: key on curve %s, want P-256 or P-384", key.Curve.Params().Name)
		}
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < minRSABits || n > maxRSABits {
			return nil, fmt.Errorf("csr: RSA key of %d bits, want %d to %d", n, minRSABits, maxRSABits)
		}
	default:
		return nil, fmt.Errorf("csr: key of type %s, want ECDSA or RSA", req.PublicKeyAlgorithm)
	}
	if err := req.CheckSignature(); err != nil {
		return nil, fmt.Errorf("csr: signature: %w", err)
	}
	return req.PublicKey, nil
}
