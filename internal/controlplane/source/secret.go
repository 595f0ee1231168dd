// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"crypto/rsa"
	"crypto/tls"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// TLSSecretFrom reads a Secret of type kubernetes.io/tls and checks that its certificate and key
// belong together. What is wrong stands in Problem, which never quotes the Secret; nothing but the
// name is kept then. A certificate that has ended is no problem here: proxies go on serving it, and
// its listener says so.
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
		return out
	}
	// Envoy refuses shorter ones, and with them the whole listener.
	if rsaKey, ok := pair.PrivateKey.(*rsa.PrivateKey); ok && rsaKey.N.BitLen() < 2048 {
		out.Problem = "tls.key is an RSA key of fewer than 2048 bits"
		return out
	}
	out.Certificate, out.PrivateKey = string(cert), model.Redacted(key)
	out.Ends = pair.Leaf.NotAfter.UTC()
	return out
}
