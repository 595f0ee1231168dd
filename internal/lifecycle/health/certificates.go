// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package health

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// CertificateFacts is what is seen of the mesh's certificates.
type CertificateFacts struct {
	// Issuer is what is seen of the issuer that the Mesh names; nil when it names none, or an
	// external one, which can't be looked at.
	Issuer *IssuerFacts
	// Root is the self-made root's Certificate, Intermediate the intermediate's; nil: not there.
	Root, Intermediate *cmv1.Certificate
	// Requests are the CertificateRequests in the operator's namespace; looked at only while one of the mesh's
	// Certificates is being issued (BeingIssued).
	Requests []cmv1.CertificateRequest
	// TLSCrt and CACrt are from the intermediate's Secret; empty: not there.
	TLSCrt, CACrt []byte
	// Name is that of the intermediate's Certificate and Secret, RootName that of the root's; empty:
	// names.IntermediateSecret and names.RootSecret.
	Name, RootName string
}

// IssuerFacts is what is seen of an Issuer or ClusterIssuer.
type IssuerFacts struct {
	Found  bool
	Spec   cmv1.IssuerSpec
	Status cmv1.IssuerStatus
}

// CertificateHealth is the judgement on the certificates.
type CertificateHealth struct {
	Verdict
	// Authority is the intermediate in use; nil: there is none that can be used. It may be there
	// while the verdict is bad, when the certificates of an earlier spec go on working.
	Authority *Authority
	// Hopeless means that asking the issuer can't give anything that can be used.
	Hopeless bool
}

// Certificates judges them.
func Certificates(m *v1alpha1.Mesh, f CertificateFacts, now time.Time) CertificateHealth {
	name := "the self-made root"
	if ref := m.Spec.Certificates.IssuerRef; ref != nil {
		name = ref.Kind + " " + ref.Name
	}
	f.Name, f.RootName = cmp.Or(f.Name, names.IntermediateSecret), cmp.Or(f.RootName, names.RootSecret)
	var out CertificateHealth
	var broken *Verdict
	if len(f.TLSCrt) > 0 {
		a, v := ReadAuthority(f, m.Spec.TrustDomain, name, now)
		if broken = v; v == nil {
			out.Authority = &a
		}
	}
	if v, hopeless := judgeIssuer(f.Issuer, name); v != nil {
		out.Verdict, out.Hopeless = *v, hopeless
		return out
	}
	if v := judgeIssuing("Certificate "+f.RootName, f.Root, f.Requests, now); v != nil && m.Spec.Certificates.IssuerRef == nil {
		out.Verdict = *v
		return out
	}
	if v := judgeIssuing("Certificate "+f.Name, f.Intermediate, f.Requests, now); v != nil {
		// What is in the Secret is still that of an earlier issuer. Only its end matters now.
		if broken != nil && broken.Reason == v1alpha1.ReasonCertificateExpired {
			v = broken
		}
		out.Verdict = *v
		return out
	}
	if broken != nil {
		out.Verdict = *broken
		return out
	}
	if out.Authority == nil {
		out.Verdict = *bad(v1alpha1.ReasonWaitingForCertManager, "waiting for cert-manager to write the Secret %s", f.Name)
		return out
	}
	out.Verdict = Verdict{Good: true, Reason: v1alpha1.ReasonIssued, Message: "the intermediate certificate is issued by " + name + " and its roots are spread"}
	if ref := m.Spec.Certificates.IssuerRef; ref != nil && ref.Group == "cert-manager.io" && ref.Kind == cmv1.ClusterIssuerKind {
		out.Reason = v1alpha1.ReasonIssuedBySharedIssuer
		out.Message += "; every namespace may ask " + name + " for certificates below the same root: name an Issuer in the operator's namespace, or allow no other namespace to use it"
	}
	if r := unapproved(f.Intermediate, f.Requests, now); r != nil {
		out.Message += "; it is not renewed: " + waitsForApproval(r)
	}
	return out
}

// judgeIssuer says what is wrong with the issuer that the Mesh names, and whether asking it is in vain.
func judgeIssuer(f *IssuerFacts, name string) (v *Verdict, hopeless bool) {
	if f == nil {
		return nil, false
	}
	if !f.Found {
		return bad(v1alpha1.ReasonIssuerNotFound, "there is no %s; create it, or correct spec.certificates.issuerRef (an Issuer is looked for in the operator's namespace)", name), false
	}
	if f.Spec.ACME != nil {
		return bad(v1alpha1.ReasonIssuerCannotSignCA, "%s is an ACME issuer, which never issues authorities; name one of type CA, Vault or Venafi, or leave issuerRef out", name), true
	}
	if f.Spec.SelfSigned != nil {
		return bad(v1alpha1.ReasonIssuerCannotSignCA, "%s signs every certificate with its own key, so it can't keep a root; leave issuerRef out and Tulle makes a self-signed root and keeps it", name), true
	}
	for _, c := range f.Status.Conditions {
		if c.Type == cmv1.IssuerConditionReady && c.Status == cmmeta.ConditionFalse {
			return bad(v1alpha1.ReasonIssuerNotReady, "%s can't issue: %s", name, sentence(c.Message)), false
		}
	}
	return nil, false
}

// Issued tells whether cert-manager says that a Certificate is issued as it is spelled now.
func Issued(c *cmv1.Certificate) bool { return judgeIssuing("", c, nil, time.Time{}) == nil }

// BeingIssued tells whether there may be a CertificateRequest of a Certificate on which its issuer has not acted yet.
func BeingIssued(c *cmv1.Certificate) bool {
	return c != nil && (!Issued(c) || slices.ContainsFunc(c.Status.Conditions, func(cond cmv1.CertificateCondition) bool {
		return cond.Type == cmv1.CertificateConditionIssuing && cond.Status == cmmeta.ConditionTrue
	}))
}

// judgeIssuing says why a Certificate is not issued, or nil if it is.
func judgeIssuing(name string, c *cmv1.Certificate, requests []cmv1.CertificateRequest, now time.Time) *Verdict {
	waiting := bad(v1alpha1.ReasonWaitingForCertManager, "waiting for cert-manager to issue %s; if this lasts, see whether cert-manager runs: kubectl get pods -n cert-manager", name)
	if c == nil {
		return waiting
	}
	for _, cond := range c.Status.Conditions {
		if cond.Type == cmv1.CertificateConditionReady && cond.Status == cmmeta.ConditionTrue && cond.ObservedGeneration >= c.Generation {
			return nil
		}
	}
	for _, cond := range c.Status.Conditions {
		failed := cond.Type == cmv1.CertificateConditionIssuing && cond.Status == cmmeta.ConditionFalse && cond.Message != ""
		if failed && c.Status.FailedIssuanceAttempts != nil {
			return bad(v1alpha1.ReasonIssuingFailed, "cert-manager could not issue %s: %s", name, sentence(cond.Message))
		}
	}
	if r := unapproved(c, requests, now); r != nil {
		return bad(v1alpha1.ReasonWaitingForApproval, "cert-manager has not issued %s: %s", name, waitsForApproval(r))
	}
	return waiting
}

// approvalPatience is how long a CertificateRequest may wait for approval before that is reported.
const approvalPatience = 30 * time.Second

// unapproved returns the latest of the requests of a Certificate, if nobody has approved or denied it for long.
func unapproved(c *cmv1.Certificate, requests []cmv1.CertificateRequest, now time.Time) *cmv1.CertificateRequest {
	var last *cmv1.CertificateRequest
	for i := range requests {
		r := &requests[i]
		if c == nil || !metav1.IsControlledBy(r, c) {
			continue
		}
		if last == nil || r.CreationTimestamp.After(last.CreationTimestamp.Time) || r.CreationTimestamp.Equal(&last.CreationTimestamp) && r.Name > last.Name {
			last = r
		}
	}
	if last == nil || now.Sub(last.CreationTimestamp.Time) < approvalPatience {
		return nil
	}
	for _, cond := range last.Status.Conditions {
		decided := cond.Type == cmv1.CertificateRequestConditionApproved || cond.Type == cmv1.CertificateRequestConditionDenied || cond.Type == cmv1.CertificateRequestConditionInvalidRequest
		if decided && cond.Status == cmmeta.ConditionTrue {
			return nil
		}
	}
	return last
}

func waitsForApproval(r *cmv1.CertificateRequest) string {
	return fmt.Sprintf("CertificateRequest %s waits for approval; see whether the approver of your cluster runs and has a policy for it, or approve it: cmctl approve -n %s %s", r.Name, r.Namespace, r.Name)
}

// sentence keeps somebody else's message to one line of bearable length.
func sentence(s string) string {
	s = strings.TrimSuffix(strings.Join(strings.Fields(s), " "), ".")
	if r := []rune(s); len(r) > 400 {
		return string(r[:400]) + "…"
	}
	return s
}

func bad(reason, format string, args ...any) *Verdict {
	return &Verdict{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
