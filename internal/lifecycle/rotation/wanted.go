// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rotation

import (
	"bytes"
	"crypto/x509"
	"slices"
	"time"

	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/names"
)

// expiring is the part of a root's life before whose end it is replaced: 1/expiring.
const expiring = 5

// current is the issuer of the signing intermediate; nil: there is none yet.
func (s Seen) current(st *v1alpha1.CertificatesStatus) *cmmeta.IssuerReference {
	if c := s.Facts.Intermediate; c != nil {
		r := c.Spec.IssuerRef
		return &r
	}
	// Somebody deleted the Certificate. Its Secret still tells whose it is, and so does the status.
	if len(s.Facts.TLSCrt) == 0 {
		return nil
	}
	if s.IssuedBy != nil {
		return s.IssuedBy
	}
	if st == nil {
		return nil
	}
	if st.Phase == v1alpha1.RotationCompleted {
		return read(st.To)
	}
	return read(st.From)
}

// wanted is the issuer that the signing intermediate ought to come from, and why if that is not the current one.
func wanted(m *v1alpha1.Mesh, s Seen, st *v1alpha1.CertificatesStatus, cur *cmmeta.IssuerReference, active []*x509.Certificate, now time.Time) (cmmeta.IssuerReference, v1alpha1.RotationTrigger) {
	if ref := m.Spec.Certificates.IssuerRef; ref != nil {
		return cmmeta.IssuerReference{Group: ref.Group, Kind: ref.Kind, Name: ref.Name}, v1alpha1.TriggerIssuerChanged
	}
	if st.Active() {
		from, to := read(st.From), read(st.To)
		calledOff := st.Trigger == v1alpha1.TriggerRequested && st.Request != "" &&
			m.Annotations[names.AnnotationRotateRoot] == "" && st.Phase != v1alpha1.RotationRetiring
		switch {
		case from != nil && selfMade(*from) && (calledOff || to == nil || !selfMade(*to)):
			return *from, st.Trigger
		case to != nil && selfMade(*to):
			return *to, st.Trigger
		}
	}
	if cur == nil || !selfMade(*cur) {
		return made(names.RootSecret), v1alpha1.TriggerIssuerChanged
	}
	if st.Active() || len(active) == 0 {
		return *cur, ""
	}
	next := made(other(cur.Name))
	switch {
	case lost(s, cur.Name, active):
		return next, v1alpha1.TriggerRootLost
	case slices.ContainsFunc(active, func(c *x509.Certificate) bool { return nearEnd(c, now) }):
		return next, v1alpha1.TriggerExpiring
	case asked(m, st) != "":
		return next, v1alpha1.TriggerRequested
	}
	return *cur, ""
}

// asked is the value of the annotation if it has not been dealt with.
func asked(m *v1alpha1.Mesh, st *v1alpha1.CertificatesStatus) string {
	v := m.Annotations[names.AnnotationRotateRoot]
	if st != nil && st.Request == v {
		return ""
	}
	return v
}

func nearEnd(c *x509.Certificate, now time.Time) bool {
	life := c.NotAfter.Sub(c.NotBefore)
	return c.NotAfter.Sub(now) < life/expiring
}

// lost tells whether the key of a self-made root that is in use has gone. cert-manager then made
// another one, below which nothing may be signed before it is trusted.
func lost(s Seen, name string, active []*x509.Certificate) bool {
	if !health.Issued(s.Facts.Intermediate) {
		return false // What is in use may be of an earlier issuer.
	}
	have, err := health.ParsePEM(s.RootTLS[name])
	if err != nil || len(have) == 0 {
		return true
	}
	return !slices.ContainsFunc(active, func(c *x509.Certificate) bool {
		return bytes.Equal(c.RawSubjectPublicKeyInfo, have[0].RawSubjectPublicKeyInfo)
	})
}
