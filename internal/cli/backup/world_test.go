// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package backup

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/names"
)

func now() time.Time { return time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC) }

// authority is a certificate that signs, with its key.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, name, trustDomain string, life time.Duration, by *authority) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now().Add(-time.Hour), NotAfter: now().Add(life),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	signer := authority{tmpl, key}
	if by != nil {
		signer = *by
		tmpl.PermittedURIDomains, tmpl.PermittedDNSDomainsCritical = []string{trustDomain}, true
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, signer.cert, key.Public(), signer.key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func crt(a authority) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

func secret(t *testing.T, name, issuer string, a, root authority) *corev1.Secret {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: names.SystemNamespace, UID: "1", ResourceVersion: "1",
			Annotations: map[string]string{cmv1.IssuerNameAnnotationKey: issuer, corev1.LastAppliedConfigAnnotation: "x"},
		},
		Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": crt(a), "ca.crt": crt(root), "tls.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})},
	}
}

// world is a cluster with a mesh.
type world struct {
	Seen
	mesh  *v1alpha1.Mesh
	root  authority
	issue func(life time.Duration) *corev1.Secret // an intermediate below the root
}

// newWorld is a mesh whose root has this life.
func newWorld(t *testing.T, trustDomain string, life time.Duration) world {
	t.Helper()
	w := world{root: newAuthority(t, "root", trustDomain, life, nil)}
	w.issue = func(life time.Duration) *corev1.Secret {
		return secret(t, names.IntermediateSecret, names.RootSecret, newAuthority(t, "intermediate", trustDomain, life, &w.root), w.root)
	}
	w.Secrets = map[string]*corev1.Secret{
		names.RootSecret:         secret(t, names.RootSecret, "tulle-selfsigned", w.root, w.root),
		names.IntermediateSecret: w.issue(90 * 24 * time.Hour),
	}
	w.ConfigMaps = map[string]*corev1.ConfigMap{
		names.TrustConfigMap: {ObjectMeta: metav1.ObjectMeta{Name: names.TrustConfigMap}, Data: map[string]string{names.TrustKey: string(crt(w.root))}},
	}
	w.mesh = &v1alpha1.Mesh{
		TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion().String(), Kind: "Mesh"},
		ObjectMeta: metav1.ObjectMeta{
			Name: "tulle", UID: "2", Finalizers: []string{names.Finalizer},
			Annotations: map[string]string{names.AnnotationForceDelete: "true", names.AnnotationRotateRoot: "1", "keep": "me"},
		},
		Spec:   v1alpha1.MeshSpec{Version: "0.3.0", TrustDomain: trustDomain},
		Status: v1alpha1.MeshStatus{Roots: []v1alpha1.RootStatus{{SHA256: health.Fingerprint(w.root.cert), Active: true}}},
	}
	w.change(t, func(*v1alpha1.Mesh) {})
	return w
}

// change changes the Mesh.
func (w *world) change(t *testing.T, f func(*v1alpha1.Mesh)) {
	t.Helper()
	f(w.mesh)
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(w.mesh)
	if err != nil {
		t.Fatal(err)
	}
	w.Mesh = unstructured.Unstructured{Object: content}
}

// file makes a backup, writes and reads it.
func (w world) file(t *testing.T, keys bool) File {
	t.Helper()
	f, err := Make(w.Seen, keys, "0.3.0", now())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := f.Write(&b); err != nil {
		t.Fatal(err)
	}
	again, err := Parse(b.Bytes())
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	return again
}

// fresh is a cluster in which all is installed and there is no mesh.
func fresh() Target {
	return Target{System: "system", Namespace: true, MeshKind: true, CertManager: true, Operator: true, XMeshKind: true}
}

// target is the world as somewhere to restore into.
func (w world) target() Target {
	t := fresh()
	t.Mesh, t.Secrets, t.ConfigMaps = w.mesh, w.Secrets, w.ConfigMaps
	return t
}

func options() Options { return Options{Known: release.Known("", "")} }
