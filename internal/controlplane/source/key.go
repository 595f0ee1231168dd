// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// Limits of a Secret for TLS. crypto/x509 computes with the numbers of an RSA key before it checks them, in
// a time that is cubic in their length: a key of 16,384 bits, in a Secret of 12 kB, takes seconds. In a
// proxy, each handshake with a key of 8192 bits costs some ten milliseconds.
const (
	maxChainBytes = 64 << 10
	maxKeyBytes   = 16 << 10
	maxRSABits    = 8192
)

// checkedKey checks the sizes of a certificate chain and of its private key, both PEM, without computing
// anything with them. It returns the one PEM block of the key that was checked, or what is wrong.
func checkedKey(cert, key []byte) (checked []byte, problem string) {
	switch {
	case len(cert) == 0:
		return nil, "tls.crt is missing"
	case len(key) == 0:
		return nil, "tls.key is missing"
	case len(cert) > maxChainBytes:
		return nil, fmt.Sprintf("tls.crt is larger than %d KiB: it may hold the certificate and its intermediates alone", maxChainBytes>>10)
	case len(key) > maxKeyBytes:
		return nil, fmt.Sprintf("tls.key is larger than %d KiB: it may hold one private key alone", maxKeyBytes>>10)
	}
	block := privateKey(key)
	if block == nil {
		return key, "" // tls.X509KeyPair says so, and computes nothing
	}
	if problem := checkDER(block.Bytes); problem != "" {
		return nil, problem
	}
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}), ""
}

// privateKey returns the first PEM block that is a private key, as tls.X509KeyPair chooses it.
func privateKey(text []byte) *pem.Block {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return nil
		}
		if block.Type == "PRIVATE KEY" || strings.HasSuffix(block.Type, " PRIVATE KEY") {
			return block
		}
	}
}

const unreadable = "tls.key can't be read: it must be a private key in PKCS #1, PKCS #8 or SEC 1 form"

// checkDER tells what is wrong with the form and the lengths of a private key: PKCS #8, which wraps one of
// the others, PKCS #1 (RSA) or SEC 1 (ECDSA).
func checkDER(der []byte) (problem string) {
	in := cryptobyte.String(der)
	var body, wrapped cryptobyte.String
	var version int
	if !in.ReadASN1(&body, asn1.SEQUENCE) || !in.Empty() || !body.ReadASN1Integer(&version) {
		return unreadable
	}
	switch {
	case body.PeekASN1Tag(asn1.INTEGER):
		return checkRSA(body)
	case body.PeekASN1Tag(asn1.OCTET_STRING):
		return "" // SEC 1: a number and a curve of a fixed size
	case !body.SkipASN1(asn1.SEQUENCE) || !body.ReadASN1(&wrapped, asn1.OCTET_STRING):
		return unreadable
	}
	// In PKCS #8: RSA is PKCS #1 again. Keys of other algorithms have a fixed size.
	in = wrapped
	if !in.ReadASN1(&body, asn1.SEQUENCE) || !body.ReadASN1Integer(&version) || !body.PeekASN1Tag(asn1.INTEGER) {
		return ""
	}
	return checkRSA(body)
}

// checkRSA reads what follows the version in an RSAPrivateKey (RFC 8017, A.1.2): the modulus, both
// exponents, the two primes and three numbers that are made of these.
func checkRSA(body cryptobyte.String) (problem string) {
	for i := range 8 {
		if !body.PeekASN1Tag(asn1.INTEGER) {
			return unreadable
		}
		var digits cryptobyte.String
		body.ReadASN1(&digits, asn1.INTEGER) // its length alone is looked at
		limit := maxRSABits
		if i == 3 || i == 4 {
			limit /= 2 // a prime
		}
		if bits := new(big.Int).SetBytes(digits).BitLen(); bits > limit {
			if i == 0 {
				return fmt.Sprintf("tls.key is an RSA key of %d bits, more than the %d that are supported: use an RSA key of 2048 to 4096 bits, or ECDSA", bits, maxRSABits)
			}
			return fmt.Sprintf("tls.key is an RSA key with a number of %d bits where at most %d are supported: use an RSA key of 2048 to 4096 bits, or ECDSA", bits, limit)
		}
	}
	if !body.Empty() {
		return "tls.key is an RSA key of more than two primes, which is not supported"
	}
	return ""
}
