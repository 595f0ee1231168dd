// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"bytes"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
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
	if problem := checkChain(cert); problem != "" {
		return nil, problem
	}
	block := privateKey(key)
	if block == nil {
		return key, "" // tls.X509KeyPair says so, and computes nothing
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return nil, "tls.key is encrypted, and proxies have no passphrase: put the decrypted key into the Secret"
	}
	if problem := checkDER(block.Bytes); problem != "" {
		return nil, problem
	}
	return pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}), ""
}

// checkChain tells whether tls.crt has a PEM block that cannot be read, such as a last one that is cut off: Go
// skips it, and Envoy refuses the whole chain.
func checkChain(cert []byte) (problem string) {
	read := 0
	for rest := cert; ; read++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
	}
	if begun := bytes.Count(cert, []byte("-----BEGIN ")); begun > read {
		return fmt.Sprintf("tls.crt has %d PEM blocks that begin and only %d that can be read: one is cut off or damaged", begun, read)
	}
	return ""
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
// the others, PKCS #1 (RSA) or SEC 1 (ECDSA). It reads tags and lengths alone.
func checkDER(der []byte) (problem string) {
	body, rest, ok := element(der, asn1.TagSequence)
	if !ok || len(rest) > 0 {
		return unreadable
	}
	_, body, ok = element(body, asn1.TagInteger) // the version
	if !ok {
		return unreadable
	}
	if _, _, ok := element(body, asn1.TagInteger); ok {
		return checkRSA(body)
	}
	if _, _, ok := element(body, asn1.TagOctetString); ok {
		return "" // SEC 1: a number and a curve of a fixed size
	}
	_, body, ok = element(body, asn1.TagSequence) // the algorithm of PKCS #8
	if !ok {
		return unreadable
	}
	wrapped, _, ok := element(body, asn1.TagOctetString)
	if !ok {
		return unreadable
	}
	// RSA is PKCS #1 again. Keys of other algorithms have a fixed size.
	if body, _, ok = element(wrapped, asn1.TagSequence); !ok {
		return ""
	}
	if _, body, ok = element(body, asn1.TagInteger); !ok {
		return ""
	}
	if _, _, ok := element(body, asn1.TagInteger); !ok {
		return ""
	}
	return checkRSA(body)
}

// element reads one element of a tag; rest is what follows it.
func element(in []byte, tag int) (contents, rest []byte, ok bool) {
	var v asn1.RawValue
	rest, err := asn1.Unmarshal(in, &v)
	return v.Bytes, rest, err == nil && v.Class == asn1.ClassUniversal && v.Tag == tag
}

// checkRSA reads what follows the version in an RSAPrivateKey (RFC 8017, A.1.2): the modulus, both
// exponents, the two primes and three numbers that are made of these.
func checkRSA(body []byte) (problem string) {
	for i := range 8 {
		digits, rest, ok := element(body, asn1.TagInteger)
		if !ok {
			return unreadable
		}
		body = rest
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
	if len(body) > 0 {
		return "tls.key is an RSA key of more than two primes, which is not supported"
	}
	return ""
}
