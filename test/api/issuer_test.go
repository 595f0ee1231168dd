// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
)

// wrongIssuers names issuers that don't exist or can't do it, and then one that can. The mesh works
// all the time on the certificates it has.
func wrongIssuers(t *testing.T) {
	use := func(name string) {
		edit(t, "tulle", func(m *v1alpha1.Mesh) {
			m.Spec.Certificates.IssuerRef = &v1alpha1.IssuerRef{Name: name, Kind: "ClusterIssuer", Group: "cert-manager.io"}
		})
	}
	fails := func(reason string, words ...string) {
		t.Helper()
		c := condition(t, "tulle", v1alpha1.ConditionCertificatesReady, metav1.ConditionFalse, reason)
		for _, w := range words {
			if !strings.Contains(c.Message, w) {
				t.Errorf("message %q lacks %q", c.Message, w)
			}
		}
		condition(t, "tulle", v1alpha1.ConditionControlPlaneReady, metav1.ConditionTrue, v1alpha1.ReasonServing)
		condition(t, "tulle", v1alpha1.ConditionInjectionReady, metav1.ConditionTrue, v1alpha1.ReasonInjecting)
	}
	use("nowhere")
	fails(v1alpha1.ReasonIssuerNotFound, "ClusterIssuer nowhere", "spec.certificates.issuerRef")

	issuer(t, "selfsigned", cmv1.IssuerConfig{SelfSigned: &cmv1.SelfSignedIssuer{}})
	use("selfsigned")
	fails(v1alpha1.ReasonIssuerCannotSignCA, "ClusterIssuer selfsigned", "leave issuerRef out")

	// An issuer that may not have an authority below it.
	secretOf(t, "short", selfSigned(t, "short", true, 0))
	issuer(t, "short", cmv1.IssuerConfig{CA: &cmv1.CAIssuer{SecretName: "short"}})
	use("short")
	stop := startCertManager(t, true)
	fails(v1alpha1.ReasonIssuerCannotSignCA, "ClusterIssuer short", "path length")
	stop()

	// One that ignores isCA.
	secretOf(t, "leafy", selfSigned(t, "leafy", true, -1))
	issuer(t, "leafy", cmv1.IssuerConfig{CA: &cmv1.CAIssuer{SecretName: "leafy"}})
	use("leafy")
	stop = startCertManager(t, false)
	fails(v1alpha1.ReasonIssuerCannotSignCA, "ClusterIssuer leafy", "no authority")
	stop()

	// And one that comes after it was named, and can do it.
	use("corp")
	fails(v1alpha1.ReasonIssuerNotFound, "ClusterIssuer corp")
	secretOf(t, "corp", selfSigned(t, "corp", true, -1))
	issuer(t, "corp", cmv1.IssuerConfig{CA: &cmv1.CAIssuer{SecretName: "corp"}})
	notApproved(t, fails)
	stop = startCertManager(t, true)
	phase(t, v1alpha1.RotationCompleted)
	stop()
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)

	// One root is trusted: nothing hangs from the other any more.
	cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "tulle-trust"}}
	eventually(t, "the new root alone is spread", func() string {
		there(t, cm)
		if n := certificates(cm.Data["ca.crt"]); n != 1 {
			return fmt.Sprint(n, " roots")
		}
		return ""
	})
	// What the self-made root needed has gone, its key with it.
	gone(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "tulle-root"}})
	gone(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "tulle-intermediate-next"}})
	gone(t, &cmv1.Issuer{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "tulle-selfsigned"}})
	gone(t, &cmv1.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "tulle-root"}})
}

// notApproved has cert-manager ask for the trial intermediate, and nobody approve that.
func notApproved(t *testing.T, fails func(reason string, words ...string)) {
	cert := &cmv1.Certificate{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "tulle-intermediate-next"}}
	eventually(t, "the trial intermediate is asked for from the new issuer", func() string {
		there(t, cert)
		if cert.Spec.IssuerRef.Name != "corp" {
			return cert.Spec.IssuerRef.Name
		}
		return ""
	})
	r := &cmv1.CertificateRequest{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: system, Name: "tulle-intermediate-next-1",
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(cert, cmv1.SchemeGroupVersion.WithKind("Certificate"))},
		},
		Spec: cmv1.CertificateRequestSpec{IssuerRef: cert.Spec.IssuerRef, Request: []byte("x")},
	}
	if err := admin.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	fails(v1alpha1.ReasonWaitingForCertManager, "tulle-intermediate-next")
	clock.Store(int64(time.Minute))
	defer clock.Store(0)
	fails(v1alpha1.ReasonWaitingForApproval, "CertificateRequest tulle-intermediate-next-1 waits for approval", "cmctl approve -n "+system)
	if err := admin.Delete(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// phase waits for a phase of the change of the root.
func phase(t *testing.T, want v1alpha1.RotationPhase) {
	t.Helper()
	eventually(t, "status.certificates.phase is "+string(want), func() string {
		m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
		there(t, m)
		if c := m.Status.Certificates; c == nil || c.Phase != want {
			return fmt.Sprintf("%+v", c)
		}
		return ""
	})
}

func issuer(t *testing.T, name string, config cmv1.IssuerConfig) {
	t.Helper()
	i := &cmv1.ClusterIssuer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: cmv1.IssuerSpec{IssuerConfig: config}}
	if err := admin.Create(t.Context(), i); err != nil {
		t.Fatal(err)
	}
}

func secretOf(t *testing.T, name, pair string) {
	t.Helper()
	i := strings.Index(pair, "-----BEGIN EC")
	s := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: name}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{"tls.crt": []byte(pair[:i]), "tls.key": []byte(pair[i:])},
	}
	if err := admin.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

// selfSigned makes a root, as PEM of the certificate and, if asked for, of its key. pathLen below 0: no limit.
func selfSigned(t *testing.T, name string, withKey bool, pathLen int) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour * 24 * 365),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		MaxPathLen: pathLen, MaxPathLenZero: pathLen == 0,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	out := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if withKey {
		k, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		out += string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: k}))
	}
	return out
}
