// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/clip"
	"tulle.dev/tulle/internal/controlplane/model"
)

// typeShown bounds what a message has of a Secret's type, which its author chooses, in bytes.
const typeShown = 64

// SecretFrom reads a Secret of any type. What is wrong stands in Problem; that is the type of most.
func SecretFrom(s *corev1.Secret) TLS {
	if s.Type == corev1.SecretTypeTLS {
		return TLSSecretFrom(s)
	}
	return TLS{
		TLSSecret: model.TLSSecret{Key: model.Key{Namespace: s.Namespace, Name: s.Name}}, OtherType: true,
		Problem: fmt.Sprintf("its type is %q and must be %s; a type cannot be changed, so delete the Secret and create it again", clip.Text(string(s.Type), typeShown), corev1.SecretTypeTLS),
	}
}

// TLSSecretFrom reads a Secret of type kubernetes.io/tls and checks that its certificate and key
// belong together and that Envoy accepts them. What is wrong is in Problem, which never quotes the key; only the name is
// kept then. What is kept is encoded again, so that Envoy reads what was checked. A certificate that has ended, the
// leaf or an issuer's, is no problem here: proxies continue to serve it, and the status of its listener reports it.
//
// Whoever may create a Secret chooses what is in it, so sizes are checked before anything is computed
// (key.go).
func TLSSecretFrom(s *corev1.Secret) TLS {
	out := TLS{TLSSecret: model.TLSSecret{Key: model.Key{Namespace: s.Namespace, Name: s.Name}}}
	cert, key := s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey]
	checked, problem := checkedKey(cert, key)
	if problem != "" {
		out.Problem = problem
		return out
	}
	pair, err := tls.X509KeyPair(cert, checked)
	if err != nil {
		out.Problem = "tls.crt and tls.key are not usable together: " + strings.TrimPrefix(err.Error(), "tls: ")
		if at := ownCertificate(cert, checked); at > 1 {
			out.Problem = fmt.Sprintf("the first certificate of tls.crt must be the one of tls.key, which is at place %d: put it first, and after each certificate the one of its issuer", at)
		}
		return out
	}
	// Envoy refuses shorter ones, and with them the whole listener.
	if rsaKey, ok := pair.PrivateKey.(*rsa.PrivateKey); ok && rsaKey.N.BitLen() < 2048 {
		out.Problem = "tls.key is an RSA key of fewer than 2048 bits"
		return out
	}
	// Nor does Envoy take another curve.
	if ec, ok := pair.PrivateKey.(*ecdsa.PrivateKey); ok && !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, ec.Curve) {
		out.Problem = "tls.key is an ECDSA key of curve " + ec.Curve.Params().Name + ", which proxies do not support: use P-256, P-384 or P-521"
		return out
	}
	issuers, problem := checkCertificates(pair.Certificate)
	if problem != "" {
		out.Problem = problem
		return out
	}
	// Go reads a private key of any form below any label, and Envoy only the form of the label.
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		out.Problem = unreadable
		return out
	}
	out.Certificate = certificateText(pair.Certificate)
	out.PrivateKey = model.Redacted(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	out.Ends, out.IssuersEnd = pair.Leaf.NotAfter.UTC(), issuersEnd(pair.Leaf, issuers)
	return out
}

// checkCertificates reads the certificates of a chain and returns those after the first one, or what is wrong.
func checkCertificates(chain [][]byte) (issuers []*x509.Certificate, problem string) {
	for i, der := range chain {
		c, problem := readCertificate(der)
		if problem == "" && i == 0 {
			problem = checkServed(c)
		}
		if problem != "" {
			return nil, fmt.Sprintf("certificate %d in tls.crt %s", i+1, problem)
		}
		if i > 0 {
			issuers = append(issuers, c)
		}
	}
	return issuers, ""
}

// chainLooked is how many certificates of a chain are looked at.
const chainLooked = 10

// issuersEnd returns when the first of the certificates ends by which a client gets from a certificate to a root that
// it knows; zero if there are none. Which one issued which is told by their names. A root in the chain does not
// count: clients have their own.
func issuersEnd(leaf *x509.Certificate, chain []*x509.Certificate) (ends time.Time) {
	var all []*x509.Certificate
	for _, c := range chain[:min(len(chain), chainLooked)] {
		if !bytes.Equal(c.RawSubject, c.RawIssuer) {
			all = append(all, c)
		}
	}
	at := leaf
	for range all {
		var issuer *x509.Certificate // of several that have its name, such as a renewed one, the last to end
		for _, c := range all {
			if bytes.Equal(c.RawSubject, at.RawIssuer) && (issuer == nil || c.NotAfter.After(issuer.NotAfter)) {
				issuer = c
			}
		}
		if issuer == nil {
			break
		}
		if ends.IsZero() || issuer.NotAfter.Before(ends) {
			ends = issuer.NotAfter.UTC()
		}
		at = issuer
	}
	return ends
}

// ownCertificate returns the place in a chain, from 1, of the certificate that belongs to a private key, one PEM
// block; 0 if none of the first ones does.
func ownCertificate(chain, key []byte) int {
	block, _ := pem.Decode(key)
	if block == nil {
		return 0
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if private, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
			if private, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
				return 0
			}
		}
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return 0
	}
	public, ok := signer.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok {
		return 0
	}
	for at := 1; at <= chainLooked; at++ {
		if block, chain = pem.Decode(chain); block == nil {
			return 0
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && public.Equal(c.PublicKey) {
			return at
		}
	}
	return 0
}
