// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"encoding/pem"
	"fmt"
	"strings"
	"unique"

	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// CAKey is the key under which a ConfigMap has certificates of authorities, by Gateway API
// (BackendTLSPolicy caCertificateRefs, Gateway frontend validation).
const CAKey = "ca.crt"

// CABundle is a ConfigMap with certificates of authorities.
type CABundle struct {
	model.Key
	// Problem says why the certificates can't be used; empty: they can. It never quotes them.
	Problem string
	// held once for all bundles of the same content: Kubernetes puts the same one into every
	// namespace (kube-root-ca.crt), and so does Tulle.
	certificates unique.Handle[string]
}

// Certificates are PEM, nothing but certificates; empty where there is a Problem.
func (b CABundle) Certificates() string {
	if b.certificates == (unique.Handle[string]{}) {
		return ""
	}
	return b.certificates.Value()
}

// CABundleFrom reads a ConfigMap; false where it has no certificates of authorities. Whether they are
// in date is not looked at: a proxy refuses what hangs from one that has expired, and the others still hold.
func CABundleFrom(m *corev1.ConfigMap) (CABundle, bool) {
	text, ok := m.Data[CAKey]
	if !ok {
		return CABundle{}, false
	}
	out := CABundle{Key: model.Key{Namespace: m.Namespace, Name: m.Name}}
	clean, problem := certificatesOf(text)
	if problem != "" {
		out.Problem = problem
		return out, true
	}
	out.certificates = unique.Make(clean)
	return out, true
}

// maxBundleBytes bounds the certificates of authorities: all those that browsers trust are some 220 KiB.
const maxBundleBytes = 512 << 10

// certificatesOf keeps the certificates of a PEM text, without the comments and headers that are
// allowed between them. Envoy would refuse the whole Secret because of a single one it can't read.
func certificatesOf(text string) (clean, problem string) {
	if len(text) > maxBundleBytes {
		return "", fmt.Sprintf("%s is larger than %d KiB: leave out authorities that are not needed", CAKey, maxBundleBytes>>10)
	}
	var out strings.Builder
	rest := []byte(text)
	for n := 1; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return "", fmt.Sprintf("%s holds a %s; only certificates belong there", CAKey, strings.ToLower(block.Type))
		}
		if _, problem := readCertificate(block.Bytes); problem != "" {
			return "", fmt.Sprintf("certificate %d in %s %s", n, CAKey, problem)
		}
		out.Write(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
	}
	if out.Len() == 0 {
		return "", CAKey + " holds no PEM certificate"
	}
	return out.String(), ""
}
