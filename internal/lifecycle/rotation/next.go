// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rotation

import (
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/names"
)

// Result is what to bring about, and what to say.
type Result struct {
	// Health is the judgement on the certificates; its Authority is the one in use.
	Health health.CertificateHealth
	// Issuer of the signing intermediate; Trial, if not nil, that of the trial intermediate.
	Issuer cmmeta.IssuerReference
	Trial  *cmmeta.IssuerReference
	// Roots are the names of the self-made roots to keep, sorted.
	Roots []string
	// Bundle is what every proxy trusts, Status the same for the Mesh's status.
	Bundle string
	Status []v1alpha1.RootStatus
	// Anchors is what the ConfigMap of the system namespace is to have about intermediates, Intermediates the
	// same for the Mesh's status.
	Anchors       Anchors
	Intermediates []v1alpha1.IntermediateStatus
	// RequiredSince is when chains had to pass through them for the first time; nil: they need not yet, and
	// Waiting says why.
	RequiredSince *metav1.Time
	Waiting       string
	// Progress is for status.certificates; nil: the root never changed.
	Progress *v1alpha1.CertificatesStatus
	// Again is when to look again, because what proxies trust is asked and not watched; 0: not for this.
	Again time.Duration
	// Secrets are those that nothing needs any more and that are there, sorted.
	Secrets []string
}

// How often it is looked again while the root changes, and while an earlier root is still trusted.
const (
	whileActive   = 3 * time.Second
	whileTrusting = 15 * time.Second
)

// decision is Next under way.
type decision struct {
	mesh *v1alpha1.Mesh
	seen Seen
	now  time.Time

	cur     *cmmeta.IssuerReference
	want    cmmeta.IssuerReference
	trigger v1alpha1.RotationTrigger
	st      *v1alpha1.CertificatesStatus // the one to write
	// active are the roots of the signing intermediate, coming those of the trial one.
	active, coming []*x509.Certificate
	// signing is the intermediate that cert-manager issued last; nil: it can't be used.
	signing *x509.Certificate
	out     Result
}

// Next decides. The Mesh's status is that which the last decision gave, or an older one.
func Next(m *v1alpha1.Mesh, s Seen, now time.Time) Result {
	d := &decision{mesh: m, seen: s.without(m), now: now, st: m.Status.Certificates.DeepCopy()}
	if a, v := health.ReadAuthority(s.Facts, m.Spec.TrustDomain, "", now); len(s.Facts.TLSCrt) > 0 && v == nil {
		d.out.Health.Authority, d.active, d.signing = &a, a.Roots, a.Intermediate
	}
	d.cur = s.current(d.st)
	d.want, d.trigger = wanted(m, s, d.st, d.cur, d.active, now)
	d.judge()
	switch {
	case d.atOnce():
		d.out.Issuer = d.want
		if d.st.Active() {
			d.end(v1alpha1.RotationCompleted, "there was no certificate in use to be careful about")
		}
	case *d.cur == d.want:
		d.out.Issuer = d.want
		d.settled()
	default:
		d.out.Issuer = *d.cur
		d.moving()
	}
	d.bundle()
	d.intermediates()
	d.wait()
	d.keep()
	d.out.Progress = d.st
	switch {
	case d.st.Active():
		d.out.Again = whileActive
	case slices.ContainsFunc(d.out.Status, func(r v1alpha1.RootStatus) bool { return !r.Active }), d.out.RequiredSince == nil, unsettled(d.out.Intermediates):
		d.out.Again = whileTrusting
	}
	return d.out
}

// atOnce: nothing is in use that a change could harm, or all of it has ended.
func (d *decision) atOnce() bool {
	if d.cur == nil {
		return true
	}
	return *d.cur != d.want && d.out.Health.Authority == nil && (len(d.mesh.Status.Roots) == 0 || len(d.seen.Replicas) == 0 && Asks(d.mesh))
}

// judge says how the certificates are: those of the issuer that is wanted, on trial or in use.
func (d *decision) judge() {
	f := d.seen.Facts
	if selfMade(d.want) {
		f.RootName, f.Root = d.want.Name, d.seen.Roots[d.want.Name]
	}
	if d.cur != nil && *d.cur != d.want && d.out.Health.Authority != nil {
		f.Name, f.Intermediate, f.TLSCrt, f.CACrt = names.NextIntermediateSecret, d.seen.Next, d.seen.NextTLS, d.seen.NextCA
	}
	if c := f.Intermediate; c != nil && c.Spec.IssuerRef != d.want {
		f.Intermediate = nil // It is about to be asked for from another issuer.
	}
	inUse := d.out.Health.Authority
	h := health.Certificates(d.mesh, f, d.now)
	if f.Name == names.NextIntermediateSecret {
		if h.Good && health.Issued(f.Intermediate) {
			d.coming = h.Authority.Roots
		}
		h.Authority = inUse
	}
	if d.trigger == v1alpha1.TriggerRootLost && h.Good && d.cur != nil && *d.cur != d.want {
		h.Verdict = health.Verdict{Reason: v1alpha1.ReasonRootLost, Message: "the Secret of the self-made root has gone or was replaced; traffic goes on with the certificates there are, and a new root is brought in, see status.certificates"}
	}
	d.out.Health = h
}

// settled: the intermediate is asked for from the issuer that is wanted.
func (d *decision) settled() {
	switch {
	case d.st.Active() && d.st.To != spell(d.want):
		d.end(v1alpha1.RotationCancelled, "called off before anything was signed below the new root")
		if d.st.Trigger == v1alpha1.TriggerRequested {
			d.st.Request = "" // The same value asks for it again.
		}
	case d.st.Active():
		if d.st.Phase == v1alpha1.RotationPreparing || d.st.Phase == v1alpha1.RotationDistributing {
			d.enter(v1alpha1.RotationSigning)
		}
	case d.leftOver():
		d.begin(v1alpha1.RotationTurningOver, v1alpha1.TriggerRootChanged)
		d.askToRenew()
	case !selfMade(d.want) && asked(d.mesh, d.st) != "":
		d.begin(v1alpha1.RotationRefused, v1alpha1.TriggerRequested)
		d.st.Message = fmt.Sprintf("the root belongs to %s %s: change it there, or name another issuer in spec.certificates.issuerRef", d.want.Kind, d.want.Name)
	}
}

// moving: another issuer is wanted than the one that is in use.
func (d *decision) moving() {
	if !d.st.Active() || d.st.To != spell(d.want) || d.st.From != spell(*d.cur) {
		d.begin(v1alpha1.RotationPreparing, d.trigger)
	}
	d.out.Trial = &d.want
	if d.out.Health.Hopeless {
		d.out.Trial = nil
	}
	if d.coming == nil {
		d.enter(v1alpha1.RotationPreparing)
		return
	}
	d.st.NewRoot = health.Fingerprint(d.coming[0])
	if d.st.Phase != v1alpha1.RotationDistributing {
		d.enter(v1alpha1.RotationDistributing)
	}
}

func (d *decision) begin(p v1alpha1.RotationPhase, t v1alpha1.RotationTrigger) {
	old := d.st
	d.st = &v1alpha1.CertificatesStatus{
		Phase: p, Since: timeOf(d.now), Started: timeOf(d.now), Trigger: t, To: spell(d.want), From: spell(*d.cur),
	}
	if old != nil {
		// Agents take the time as asked for once per value: it must not go back.
		d.st.Request, d.st.RenewIssuedBefore = old.Request, old.RenewIssuedBefore
	}
	if t == v1alpha1.TriggerRequested {
		d.st.Request = d.mesh.Annotations[names.AnnotationRotateRoot]
	}
	if len(d.active) > 0 {
		d.st.OldRoot = health.Fingerprint(d.active[0])
	}
}

func (d *decision) enter(p v1alpha1.RotationPhase) {
	if d.st.Phase != p {
		d.st.Phase, d.st.Since = p, timeOf(d.now)
		d.st.Proxies, d.st.Done = 0, 0
	}
	d.st.Message = ""
}

func (d *decision) end(p v1alpha1.RotationPhase, message string) {
	d.enter(p)
	d.st.Message = message
}

// keep lists what stays and what may go.
func (d *decision) keep() {
	stays := []cmmeta.IssuerReference{d.out.Issuer, d.want}
	// The way back must stay open.
	if d.st.Active() && d.st.Phase != v1alpha1.RotationRetiring {
		for _, text := range []string{d.st.From, d.st.To} {
			if r := read(text); r != nil {
				stays = append(stays, *r)
			}
		}
	}
	for _, r := range stays {
		if selfMade(r) && !slices.Contains(d.out.Roots, r.Name) {
			d.out.Roots = append(d.out.Roots, r.Name)
		}
	}
	slices.Sort(d.out.Roots)
	for name := range d.seen.RootTLS {
		// While a root is trusted its key may still be needed; cert-manager keeps the Secret without a Certificate.
		if !slices.Contains(d.out.Roots, name) && !d.st.Active() && !slices.ContainsFunc(d.out.Status, func(r v1alpha1.RootStatus) bool { return !r.Active }) {
			d.out.Secrets = append(d.out.Secrets, name)
		}
	}
	if d.out.Trial == nil && len(d.seen.NextTLS) > 0 {
		d.out.Secrets = append(d.out.Secrets, names.NextIntermediateSecret)
	}
	slices.Sort(d.out.Secrets)
}
