// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"encoding/pem"
	"fmt"
	"strings"
	"unique"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// CAKey is the key under which a ConfigMap has certificates of authorities, by Gateway API
// (BackendTLSPolicy caCertificateRefs, Gateway frontend validation).
const CAKey = "ca.crt"

// CABundle is a ConfigMap, or without a namespace a ClusterTrustBundle, with certificates of authorities.
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
	out.read(CAKey, text)
	return out, true
}

// TrustBundleFrom reads a ClusterTrustBundle.
func TrustBundleFrom(b *certificatesv1.ClusterTrustBundle) CABundle {
	out := CABundle{Key: model.Key{Name: b.Name}}
	out.read("spec.trustBundle", b.Spec.TrustBundle)
	return out
}

// read takes the certificates of a PEM text, which is in a field.
func (b *CABundle) read(field, text string) {
	clean, problem := certificatesOf(field, text)
	if b.Problem = problem; problem == "" {
		b.certificates = unique.Make(clean)
	}
}

// maxBundleBytes bounds the certificates of authorities: all those that browsers trust are some 220 KiB.
const maxBundleBytes = 512 << 10

// certificatesOf keeps the certificates of a PEM text, without the comments and headers that are
// allowed between them. Envoy would refuse the whole Secret because of a single one it can't read.
func certificatesOf(field, text string) (clean, problem string) {
	if len(text) > maxBundleBytes {
		return "", fmt.Sprintf("%s is larger than %d KiB: leave out authorities that are not needed", field, maxBundleBytes>>10)
	}
	var out strings.Builder
	rest := []byte(text)
	for n := 1; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			return "", fmt.Sprintf("%s holds a %s; only certificates belong there", field, strings.ToLower(block.Type))
		}
		if _, problem := readCertificate(block.Bytes); problem != "" {
			return "", fmt.Sprintf("certificate %d in %s %s", n, field, problem)
		}
		out.Write(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes}))
	}
	if out.Len() == 0 {
		return "", field + " holds no PEM certificate"
	}
	return out.String(), ""
}
