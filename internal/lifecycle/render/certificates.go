// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package render

import (
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// Lifetimes of the authorities: leaf < intermediate < root, each renewed long before it ends.
const (
	rootLifetime = 10 * 365 * 24 * time.Hour
	// rootRenewBefore is only for a root whose replacement (package rotation), which begins when a fifth
	// of its life is left, is held up for a year: the same key then lives on under another date.
	rootRenewBefore      = 365 * 24 * time.Hour
	intermediateLifetime = 90 * 24 * time.Hour
	intermediateRenew    = 30 * 24 * time.Hour

	certManagerAPI = "cert-manager.io/v1"
	// SelfSignedIssuer signs the root that the operator makes.
	SelfSignedIssuer = "tulle-selfsigned"
)

// Authorities say which authorities there are. The zero value is those that the Mesh asks for.
type Authorities struct {
	// Issuer of the signing intermediate; Trial, if not nil, that of the trial intermediate.
	Issuer cmmeta.IssuerReference
	Trial  *cmmeta.IssuerReference
	// Roots are the names of the self-made roots.
	Roots []string
}

// Certificates are the cert-manager objects: self-signed issuer -> roots -> issuers -> intermediate,
// or the intermediate alone when the Mesh names an issuer.
func Certificates(in Input) []Object {
	a := in.Authorities
	if a.Issuer == (cmmeta.IssuerReference{}) {
		a.Issuer = IssuerOf(in.Mesh)
		if in.Mesh.Spec.Certificates.IssuerRef == nil {
			a.Roots = []string{names.RootSecret}
		}
	}
	var out []Object
	if len(a.Roots) > 0 {
		out = append(out, in.issuer(SelfSignedIssuer, cmv1.IssuerConfig{SelfSigned: &cmv1.SelfSignedIssuer{}}))
	}
	for _, name := range a.Roots {
		out = append(out, root(in, name), in.issuer(name, cmv1.IssuerConfig{CA: &cmv1.CAIssuer{SecretName: name}}))
	}
	out = append(out, intermediate(in, names.IntermediateSecret, a.Issuer))
	if a.Trial != nil {
		out = append(out, intermediate(in, names.NextIntermediateSecret, *a.Trial))
	}
	return out
}

func (in Input) issuer(name string, config cmv1.IssuerConfig) Object {
	return object(certManagerAPI, cmv1.IssuerKind, &cmv1.Issuer{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: in.Namespace, Labels: in.labels()},
		Spec:       cmv1.IssuerSpec{IssuerConfig: config},
	})
}

func root(in Input, name string) Object {
	c := in.authority(name, rootLifetime, rootRenewBefore)
	c.Spec.IssuerRef = cmmeta.IssuerReference{Group: "cert-manager.io", Kind: cmv1.IssuerKind, Name: SelfSignedIssuer}
	// The same key over renewals: chains to the old and to the new root certificate verify with either.
	c.Spec.PrivateKey.RotationPolicy = cmv1.RotationPolicyNever
	return object(certManagerAPI, cmv1.CertificateKind, c)
}

func intermediate(in Input, name string, issuer cmmeta.IssuerReference) Object {
	c := in.authority(name, intermediateLifetime, intermediateRenew)
	c.Spec.IssuerRef = issuer
	c.Spec.PrivateKey.RotationPolicy = cmv1.RotationPolicyAlways
	// Whoever steals this key can still not speak for another trust domain (RFC 5280, 4.2.1.10).
	c.Spec.NameConstraints = &cmv1.NameConstraints{
		Critical:  true,
		Permitted: &cmv1.NameConstraintItem{URIDomains: []string{in.Mesh.Spec.TrustDomain}},
	}
	return object(certManagerAPI, cmv1.CertificateKind, c)
}

// IssuerOf is the issuer of a new Mesh's intermediate certificate.
func IssuerOf(m *v1alpha1.Mesh) cmmeta.IssuerReference {
	if ref := m.Spec.Certificates.IssuerRef; ref != nil {
		return cmmeta.IssuerReference{Group: ref.Group, Kind: ref.Kind, Name: ref.Name}
	}
	return cmmeta.IssuerReference{Group: "cert-manager.io", Kind: cmv1.IssuerKind, Name: names.RootSecret}
}

func (in Input) authority(name string, lifetime, renewBefore time.Duration) *cmv1.Certificate {
	subject := &cmv1.X509Subject{Organizations: []string{"Tulle"}}
	// X.520 allows 64 characters; a longer trust domain is in the constraint and in every leaf anyway.
	if td := in.Mesh.Spec.TrustDomain; len(td) <= 64 {
		subject.OrganizationalUnits = []string{td}
	}
	return &cmv1.Certificate{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: in.Namespace, Labels: in.labels()},
		Spec: cmv1.CertificateSpec{
			CommonName:     name,
			Subject:        subject,
			IsCA:           true,
			Duration:       &metav1.Duration{Duration: lifetime},
			RenewBefore:    &metav1.Duration{Duration: renewBefore},
			SecretName:     name,
			SecretTemplate: &cmv1.CertificateSecretTemplate{Labels: in.labels()},
			Usages:         []cmv1.KeyUsage{cmv1.UsageCertSign, cmv1.UsageCRLSign},
			PrivateKey:     privateKey(in.Mesh.Spec.Certificates.KeyAlgorithm),
		},
	}
}

func privateKey(a v1alpha1.KeyAlgorithm) *cmv1.CertificatePrivateKey {
	switch a {
	case v1alpha1.ECDSAP384:
		return &cmv1.CertificatePrivateKey{Algorithm: cmv1.ECDSAKeyAlgorithm, Size: 384}
	case v1alpha1.RSA2048:
		return &cmv1.CertificatePrivateKey{Algorithm: cmv1.RSAKeyAlgorithm, Size: 2048}
	case v1alpha1.RSA4096:
		return &cmv1.CertificatePrivateKey{Algorithm: cmv1.RSAKeyAlgorithm, Size: 4096}
	case v1alpha1.ECDSAP256:
	}
	return &cmv1.CertificatePrivateKey{Algorithm: cmv1.ECDSAKeyAlgorithm, Size: 256}
}
