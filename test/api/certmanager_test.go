// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// certManager plays cert-manager for the system namespace: it issues each Certificate from its
// issuer, writes the Secret, and says so.
type certManager struct {
	t *testing.T
	// authority: false makes it issue certificates that are no authorities, as some issuers do.
	authority bool
}

// startCertManager plays until the function it returns is called.
func startCertManager(t *testing.T, authority bool) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for {
			certManager{t, authority}.round(ctx)
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func (c certManager) round(ctx context.Context) {
	var list cmv1.CertificateList
	if admin.List(ctx, &list, client.InNamespace(system)) != nil {
		return // the kinds are not installed, or the test is over
	}
	for i := range list.Items {
		if err := c.issue(ctx, &list.Items[i]); err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			c.t.Errorf("cert-manager: %v", err)
		}
	}
}

func (c certManager) issue(ctx context.Context, cert *cmv1.Certificate) error {
	secret := &corev1.Secret{}
	err := admin.Get(ctx, client.ObjectKey{Namespace: system, Name: cert.Spec.SecretName}, secret)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	stamp := cert.Spec.IssuerRef.Kind + "/" + cert.Spec.IssuerRef.Name
	if err == nil && secret.Annotations["issuer"] == stamp {
		return c.say(ctx, cert)
	}
	issuer, signer, ok, err := c.issuer(ctx, cert.Spec.IssuerRef)
	if err != nil || !ok {
		return err
	}
	key, der, err := c.sign(cert, issuer, signer)
	if err != nil {
		return err
	}
	own := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	ca := own
	if issuer != nil {
		ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: issuer.Raw})
	}
	secret.Name, secret.Namespace = cert.Spec.SecretName, system
	secret.Annotations = map[string]string{"issuer": stamp}
	secret.Data = map[string][]byte{"tls.crt": own, "tls.key": key, "ca.crt": ca}
	if secret.ResourceVersion == "" {
		secret.Type = corev1.SecretTypeTLS
		return admin.Create(ctx, secret)
	}
	return admin.Update(ctx, secret)
}

// say marks a Certificate as issued.
func (c certManager) say(ctx context.Context, cert *cmv1.Certificate) error {
	for _, cond := range cert.Status.Conditions {
		if cond.Type == cmv1.CertificateConditionReady && cond.ObservedGeneration == cert.Generation {
			return nil
		}
	}
	now := metav1.Now()
	cert.Status.Conditions = []cmv1.CertificateCondition{{
		Type: cmv1.CertificateConditionReady, Status: cmmeta.ConditionTrue, Reason: "Ready",
		LastTransitionTime: &now, ObservedGeneration: cert.Generation,
	}}
	return admin.Status().Update(ctx, cert)
}

// issuer finds the certificate and key that an issuer signs with; a self-signed issuer has none.
func (c certManager) issuer(ctx context.Context, ref cmmeta.IssuerReference) (*x509.Certificate, *ecdsa.PrivateKey, bool, error) {
	var spec cmv1.IssuerSpec
	if ref.Kind == cmv1.ClusterIssuerKind {
		issuer := &cmv1.ClusterIssuer{}
		if err := admin.Get(ctx, client.ObjectKey{Name: ref.Name}, issuer); err != nil {
			return nil, nil, false, client.IgnoreNotFound(err)
		}
		spec = issuer.Spec
	} else {
		issuer := &cmv1.Issuer{}
		if err := admin.Get(ctx, client.ObjectKey{Namespace: system, Name: ref.Name}, issuer); err != nil {
			return nil, nil, false, client.IgnoreNotFound(err)
		}
		spec = issuer.Spec
	}
	if spec.SelfSigned != nil {
		return nil, nil, true, nil
	}
	if spec.CA == nil {
		return nil, nil, false, nil
	}
	secret := &corev1.Secret{}
	if err := admin.Get(ctx, client.ObjectKey{Namespace: system, Name: spec.CA.SecretName}, secret); err != nil {
		return nil, nil, false, client.IgnoreNotFound(err)
	}
	cert, key, err := readPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	return cert, key, err == nil, err
}

func readPair(certPEM, keyPEM []byte) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	cb, _ := pem.Decode(certPEM)
	kb, _ := pem.Decode(keyPEM)
	if cb == nil || kb == nil {
		return nil, nil, fmt.Errorf("no PEM in Secret")
	}
	cert, err := x509.ParseCertificate(cb.Bytes)
	if err != nil {
		return nil, nil, err
	}
	key, err := x509.ParseECPrivateKey(kb.Bytes)
	return cert, key, err
}

// sign makes a certificate as the Certificate asks for it.
func (c certManager) sign(cert *cmv1.Certificate, issuer *x509.Certificate, signer *ecdsa.PrivateKey) (keyPEM, der []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: cert.Spec.CommonName},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(cert.Spec.Duration.Duration),
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if c.authority && cert.Spec.IsCA {
		template.IsCA, template.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	}
	if n := cert.Spec.NameConstraints; n != nil && template.IsCA {
		template.PermittedURIDomains, template.PermittedDNSDomainsCritical = n.Permitted.URIDomains, n.Critical
	}
	if issuer == nil {
		issuer, signer = template, key
	}
	der, err = x509.CreateCertificate(rand.Reader, template, issuer, &key.PublicKey, signer)
	if err != nil {
		return nil, nil, err
	}
	k, err := x509.MarshalECPrivateKey(key)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: k}), der, err
}

// certificates counts the certificates in a bundle.
func certificates(bundle string) int { return bytes.Count([]byte(bundle), []byte("BEGIN CERTIFICATE")) }
