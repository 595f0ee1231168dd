// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rotation

import (
	"fmt"
	"slices"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/protocol"
)

// bundle makes the bundle. Roots leave it only here, in the phases in which they may, and when
// nothing that is in use hangs from them.
func (d *decision) bundle() {
	d.out.Bundle, d.out.Status = bundle(d.active, d.coming, d.seen.Spread, d.mesh.Status.Roots, d.mayGo, d.now)
}

// mayGo tells whether a root that is neither active nor to come may leave the bundle.
func (d *decision) mayGo(r v1alpha1.RootStatus) bool {
	if d.st.Active() && d.st.Phase != v1alpha1.RotationRetiring || len(d.active) == 0 {
		return false
	}
	if d.seen.answers() != "" || !d.signed(idsOf(d.active)) {
		return false
	}
	if r.InactiveSince != nil && d.now.Sub(r.InactiveSince.Time) >= graceOf(d.mesh) {
		return true // No certificate below it is valid any more.
	}
	t := d.seen.count(hangsFrom(idsOf(d.active)))
	return len(d.seen.Missing) == 0 && t.done == t.total && d.seen.count(acknowledged).without == nil
}

// hangsFrom tells whether a proxy's certificate can be verified with some of these roots.
func hangsFrom(roots set) func(protocol.ProxyTrust) bool {
	return func(p protocol.ProxyTrust) bool { return roots.any(p.Roots) }
}

// signed tells whether every replica signs below these roots.
func (d *decision) signed(roots set) bool {
	return !slices.ContainsFunc(d.seen.Replicas, func(r Replica) bool { return !roots.any(r.Report.Signs) })
}

// wait looks whether what the phase waits for is there, goes on if it is, and says so if not.
func (d *decision) wait() {
	if !d.st.Active() {
		return
	}
	d.st.Message = ""
	switch d.st.Phase {
	case v1alpha1.RotationPreparing:
		d.st.Message = d.out.Health.Message
		if d.out.Health.Good {
			d.st.Message = "waiting for an intermediate certificate below the new root"
		}
	case v1alpha1.RotationDistributing:
		if d.spread() && d.present() {
			d.enter(v1alpha1.RotationSigning)
			d.out.Issuer = d.want
		}
	case v1alpha1.RotationSigning:
		d.sign()
	case v1alpha1.RotationTurningOver:
		if d.turned() && d.present() {
			d.enter(v1alpha1.RotationRetiring)
		}
	case v1alpha1.RotationRetiring:
		// The bundle without the old root is made in the round after this phase was entered.
		if !slices.ContainsFunc(d.out.Status, func(r v1alpha1.RootStatus) bool { return !r.Active }) {
			switch {
			case d.seen.reportsSigners() && slices.ContainsFunc(d.out.Intermediates, func(s v1alpha1.IntermediateStatus) bool { return !s.Active }):
				d.st.Message = "waiting for the certificates of earlier intermediates to go"
				if d.succeeded() {
					d.askToRenew() // cert-manager renewed the intermediate meanwhile
				}
			case d.spread():
				d.end(v1alpha1.RotationCompleted, d.completed())
			}
			return
		}
		if d.st.Message = d.seen.answers(); d.st.Message == "" {
			d.st.Message = "waiting for the certificates of the old root to go"
			d.turned()
		}
	case v1alpha1.RotationCompleted, v1alpha1.RotationCancelled, v1alpha1.RotationRefused:
	}
}

// spread tells whether the bundle has come to every namespace, replica and connected proxy. A namespace that
// does not have it and a proxy that does not acknowledge it are waited for as long as a proxy that is not
// connected: they may never do so.
func (d *decision) spread() bool {
	say := func(format string, args ...any) bool { d.st.Message = fmt.Sprintf(format, args...); return false }
	if d.seen.Spread != d.out.Bundle || d.seen.Anchors.list() != d.out.Anchors.list() {
		return say("the roots are being written to the ConfigMap")
	}
	if len(d.seen.Lagging) > 0 && !d.late() { // whoever may write there could keep it so
		return say("the roots are being copied, until %s at most, to %s", d.deadline(), list(d.seen.Lagging))
	}
	if why := d.seen.answers(); why != "" {
		return say("%s", why)
	}
	roots, intermediates := idsIn(d.out.Status), set{}
	for _, s := range d.out.Intermediates {
		intermediates[s.SHA256] = true
	}
	for _, r := range d.seen.Replicas {
		if !roots.equal(r.Report.Roots) {
			return say("replica %s of the control plane has not taken the roots in yet", r.Pod)
		}
		// A replica that names no signer is of a release that does not know intermediates.
		if r.Report.Signer != "" && d.out.RequiredSince != nil && !intermediates.equal(r.Report.Intermediates) {
			return say("replica %s of the control plane has not taken the intermediates in yet", r.Pod)
		}
	}
	t := d.seen.count(acknowledged)
	d.progress(t)
	if len(t.without) > 0 && !d.late() {
		return say("waiting until %s at most for proxies to accept the roots: %s; see their logs, or continue without them: tulle ca rotate --without %s", d.deadline(), list(t.without), t.without[0])
	}
	return true
}

// late tells whether the phase has lasted so long that no certificate from before it is valid any more.
// Proxies that did not do their part are not waited for then: each has lost its connections, or loses them.
func (d *decision) late() bool { return d.now.Sub(d.st.Since.Time) >= graceOf(d.mesh) }

// deadline is when the phase will be late.
func (d *decision) deadline() string {
	return d.st.Since.Add(graceOf(d.mesh)).UTC().Format(time.RFC3339)
}

// completed is what is said at the end.
func (d *decision) completed() string {
	if t := d.seen.count(acknowledged); len(t.without) > 0 {
		return "the old root was removed; proxies that did not accept the new roots in time, and lose connections until they do: " + list(t.without)
	}
	return "nothing hangs from the old root, and nobody trusts it any more"
}

// present tells whether the pods that are not connected need not be waited for.
func (d *decision) present() bool {
	n := len(d.seen.Missing)
	if n == 0 || d.late() {
		return true
	}
	d.st.Message = fmt.Sprintf("waiting until %s at most for pods that are not connected to the control plane: %s", d.deadline(), list(d.seen.Missing))
	return false
}

func (d *decision) progress(t tally) {
	d.st.Done, d.st.Proxies = int32(t.done), int32(t.total+len(d.seen.Missing)) //nolint:gosec // pods of a cluster fit
}

// sign waits for every replica to sign below the new root.
func (d *decision) sign() {
	d.out.Trial = &d.want // until it is seen that the issuer has done it in earnest
	if !health.Issued(d.seen.Facts.Intermediate) || len(d.active) == 0 {
		d.st.Message = "waiting for the intermediate: " + d.out.Health.Message
		return
	}
	if why := d.seen.answers(); why != "" {
		d.st.Message = why
		return
	}
	d.st.NewRoot = health.Fingerprint(d.active[0])
	roots := idsOf(d.active)
	for _, r := range d.seen.Replicas {
		if !roots.any(r.Report.Signs) || r.Report.Signer != "" && r.Report.Signer != health.Fingerprint(d.signing) {
			if d.signing != nil && d.out.RequiredSince != nil && r.Report.Signer != "" {
				if d.st.Message = d.undistributed(health.Fingerprint(d.signing)); d.st.Message != "" {
					d.progress(d.seen.count(acknowledged))
					return
				}
			}
			d.st.Message = fmt.Sprintf("replica %s of the control plane still signs with the old intermediate; it takes the new one when that is as old as clocks may differ (spec.certificates.maxClockSkew)", r.Pod)
			return
		}
	}
	d.askToRenew()
	d.out.Trial = nil
	d.enter(v1alpha1.RotationTurningOver)
}

// askToRenew has proxies renew what was signed before the last replica began to sign as it does now.
// That is by the replicas' own clocks, which date the certificates too.
func (d *decision) askToRenew() {
	var last time.Time
	for _, r := range d.seen.Replicas {
		if r.Report.SignsSince.After(last) {
			last = r.Report.SignsSince
		}
	}
	if at := timeOf(last); d.st.RenewIssuedBefore == nil || at.After(d.st.RenewIssuedBefore.Time) {
		d.st.RenewIssuedBefore = &at
	}
}

// leftOver tells whether some proxy's certificate hangs from a root that is no longer in use, although
// every replica signs below the one that is.
func (d *decision) leftOver() bool {
	if len(d.active) == 0 || d.seen.answers() != "" || !d.signed(idsOf(d.active)) {
		return false
	}
	return len(d.seen.count(hangsFrom(idsOf(d.active))).without) > 0
}

// turned tells whether every connected proxy has a certificate below the new root, or has had as long as a
// certificate is valid to get one.
func (d *decision) turned() bool {
	if why := d.seen.answers(); why != "" {
		d.st.Message = why
		return false
	}
	if !d.signed(idsOf(d.active)) {
		d.st.Message = "a replica of the control plane still signs below the old root"
		return false
	}
	t := d.seen.count(hangsFrom(idsOf(d.active)))
	d.progress(t)
	if len(t.without) > 0 && !d.late() {
		d.st.Message = fmt.Sprintf("waiting until %s at most for proxies to renew their certificates: %s; see their logs, or continue without them: tulle ca rotate --without %s", d.deadline(), list(t.without), t.without[0])
		return false
	}
	return true
}
