// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rotation

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/protocol"
)

// maxIntermediates bounds the list that every proxy carries.
const maxIntermediates = 12

// maxSkew is the highest spec.certificates.maxClockSkew: a replica of a release that does not report its
// intermediate may sign with the former one for that long.
const maxSkew = 10 * time.Minute

// Anchors is what the trust ConfigMap of the system namespace has about intermediates, each field a key.
type Anchors struct {
	// Intermediates are those that every chain must pass through, PEM (names.IntermediatesKey); empty: that
	// is not required yet, and they are in Recorded instead (names.RecordedIntermediatesKey).
	Intermediates, Recorded string
	// Signers are those that the control plane may sign with (names.SignersKey).
	Signers string
}

func (a Anchors) list() string { return cmp.Or(a.Intermediates, a.Recorded) }

// authorities decides which intermediates a chain may pass through, which of them may sign, and whether
// a chain must pass through one at all.
//
//   - An intermediate joins the list as soon as cert-manager has issued it, and leaves it when nothing in
//     use was signed with it.
//   - It may sign when every proxy has acknowledged a list with it.
//   - A new mesh requires intermediates from the start. One that was created by a release that knew only
//     roots does when every certificate in use was signed with an intermediate of the list. Before that, an
//     earlier intermediate may have signed some of them, and nothing in the cluster has kept it.
type authorities struct {
	*decision
	before map[string]v1alpha1.IntermediateStatus // as the Mesh's status has them
	list   []*x509.Certificate
	// known are those of the ConfigMap, and the one that signs.
	known, cleared set
}

// intermediates sets Result.Anchors and what the status says about them.
func (d *decision) intermediates() {
	a := authorities{decision: d, before: map[string]v1alpha1.IntermediateStatus{}, cleared: set{}}
	for _, s := range d.mesh.Status.Intermediates {
		a.before[s.SHA256] = s
	}
	for _, id := range strings.Fields(d.seen.Anchors.Signers) {
		a.cleared[id] = true
	}
	a.collect()
	if len(a.list) == 0 {
		d.out.Anchors = d.seen.Anchors // There is nothing to decide about yet.
		d.out.RequiredSince = d.mesh.Status.IntermediatesRequiredSince
		d.out.Waiting = "waiting for the first intermediate certificate"
		return
	}
	required := a.complete() && (d.seen.Anchors.Intermediates != "" || d.mesh.Status.IntermediatesRequiredSince != nil)
	switch {
	case required:
	case a.fresh():
		required = true
	default:
		if d.out.Waiting = a.unproven(); d.out.Waiting == "" {
			required = true
			for _, r := range d.seen.Replicas {
				a.cleared[r.Report.Signer] = true // every certificate in use is theirs, or of the same list
			}
		}
	}
	text := a.text()
	if s := d.signing; s != nil && (a.fresh() || d.seen.Anchors.Intermediates == text && a.undistributed(health.Fingerprint(s)) == "") {
		a.cleared[health.Fingerprint(s)] = true
	}
	if required {
		d.out.Anchors.Intermediates, d.out.Anchors.Signers = text, a.signers()
		if d.out.RequiredSince = d.mesh.Status.IntermediatesRequiredSince; d.out.RequiredSince == nil {
			now := timeOf(d.now)
			d.out.RequiredSince = &now
		}
	} else {
		d.out.Anchors.Recorded = text
	}
	for _, c := range a.list {
		s := a.status(c)
		s.Distributed = required && a.cleared[s.SHA256]
		d.out.Intermediates = append(d.out.Intermediates, s)
	}
}

// fresh tells whether nothing of the mesh is in use yet: nobody has been told whom to trust.
func (a authorities) fresh() bool {
	return a.seen.Spread == "" && a.seen.Anchors.list() == "" && len(a.mesh.Status.Roots) == 0
}

// complete tells whether every intermediate that the status has, and that proxies may use, is known. If not,
// the ConfigMap was written by something else meanwhile, such as an earlier release. Without a status it is
// not, either: after a restored backup, proxies that were running all the while may have certificates of an
// intermediate that the backup does not have.
func (a authorities) complete() bool {
	for id, s := range a.before {
		if !a.known[id] && s.InactiveSince == nil && a.now.Before(s.NotAfter.Time) {
			return false
		}
	}
	return len(a.before) > 0
}

// collect makes the list: those of the ConfigMap that the Mesh's status has as well and that are still
// needed, so that one that somebody else added goes away; and the one that signs. Without any status, as
// after a restored backup, the ConfigMap's stay.
func (a *authorities) collect() {
	earlier, err := health.ParsePEM([]byte(a.seen.Anchors.list()))
	if err != nil {
		earlier = nil // Somebody broke it; the one that signs repairs it.
	}
	if a.known = idsOf(earlier); a.signing != nil {
		a.known[health.Fingerprint(a.signing)] = true
	}
	for _, c := range earlier {
		_, ours := a.before[health.Fingerprint(c)]
		ours = ours || len(a.before) == 0
		stays := a.signs(c) || ours && a.now.Before(c.NotAfter) && !a.mayLeave(c)
		if stays && !slices.ContainsFunc(a.list, c.Equal) {
			a.list = append(a.list, c)
		}
	}
	if c := a.signing; c != nil && !slices.ContainsFunc(a.list, c.Equal) {
		a.list = append(a.list, c)
	}
	for len(a.list) > maxIntermediates {
		// Issued in vain, by an issuer that was named and given up again; else the oldest.
		i := slices.IndexFunc(a.list, func(c *x509.Certificate) bool { return !a.signs(c) && !a.cleared[health.Fingerprint(c)] })
		a.list = slices.Delete(a.list, max(i, 0), max(i, 0)+1)
	}
}

func (a authorities) signs(c *x509.Certificate) bool { return a.signing != nil && c.Equal(a.signing) }

func (a authorities) status(c *x509.Certificate) v1alpha1.IntermediateStatus {
	id := health.Fingerprint(c)
	s := v1alpha1.IntermediateStatus{SHA256: id, NotAfter: timeOf(c.NotAfter), Since: timeOf(a.now), Active: a.signs(c)}
	if b, ok := a.before[id]; ok {
		s.Since = b.Since
	}
	if !s.Active && a.succeeded() {
		if s.InactiveSince = a.before[id].InactiveSince; s.InactiveSince == nil {
			t := timeOf(a.now)
			s.InactiveSince = &t
		}
	}
	return s
}

// succeeded tells whether every replica signs with the intermediate that cert-manager issued last.
func (d *decision) succeeded() bool {
	if d.signing == nil || d.seen.answers() != "" {
		return false
	}
	id := health.Fingerprint(d.signing)
	return !slices.ContainsFunc(d.seen.Replicas, func(r Replica) bool { return r.Report.Signer != id })
}

// mayLeave tells whether nothing in use was signed with an intermediate, and nothing will be.
func (a authorities) mayLeave(c *x509.Certificate) bool {
	if !a.succeeded() {
		return false
	}
	id := health.Fingerprint(c)
	since := a.before[id].InactiveSince
	if since == nil || len(a.seen.Missing) > 0 && a.now.Sub(since.Time) < graceOf(a.mesh) {
		return false
	}
	if slices.ContainsFunc(a.seen.Replicas, func(r Replica) bool { return r.Report.Serves == id }) {
		return false // webhook and agents could not verify it any more
	}
	t := a.seen.count(func(p protocol.ProxyTrust) bool { return p.Signer != id || ended(p, a.now) })
	return len(t.without) == 0
}

// ended tells whether the certificate that a proxy showed is not valid any more: it has another one by now.
func ended(p protocol.ProxyTrust, now time.Time) bool {
	return !p.NotAfter.IsZero() && now.After(p.NotAfter)
}

// unproven says why intermediates can't be required of every chain yet; empty: they can. It does so for a
// limited time: after that every certificate of an honest proxy has been renewed.
func (a authorities) unproven() string {
	if a.signing == nil {
		return "waiting for a usable intermediate certificate"
	}
	if why := a.seen.answers(); why != "" {
		return why
	}
	var first time.Time
	for _, c := range a.list {
		if s, ok := a.before[health.Fingerprint(c)]; ok && (first.IsZero() || s.Since.Time.Before(first)) {
			first = s.Since.Time
		}
	}
	if first.IsZero() {
		return "recording the intermediate certificate in use"
	}
	ids := idsOf(a.list)
	for _, r := range a.seen.Replicas {
		switch {
		case r.Report.Signer == "":
			return "replica " + r.Pod + " of the control plane is of a release that can't require intermediates; upgrade the control plane"
		case !ids[r.Report.Signer]:
			return "replica " + r.Pod + " of the control plane signs with an earlier intermediate"
		}
	}
	if a.now.Sub(first) >= max(graceOf(a.mesh), 24*time.Hour+protocol.Backdate)+maxSkew {
		return ""
	}
	if len(a.seen.Missing) > 0 {
		return "waiting, for a day at most, for pods that are not connected to the control plane: " + list(a.seen.Missing)
	}
	t := a.seen.count(func(p protocol.ProxyTrust) bool { return ids[p.Signer] })
	if len(t.without) > 0 {
		return "waiting, for a day at most, for proxies to renew certificates that an earlier intermediate signed: " + list(t.without)
	}
	return ""
}

// undistributed says why an intermediate may not sign yet: a namespace, replica or proxy has no list with it.
// Empty: it may. Those that do not show it are waited for only for as long as a certificate of a proxy could live.
func (d *decision) undistributed(id string) string {
	i := slices.IndexFunc(d.mesh.Status.Intermediates, func(s v1alpha1.IntermediateStatus) bool { return s.SHA256 == id })
	if i < 0 {
		return "the new intermediate is being written to the ConfigMap"
	}
	until := d.mesh.Status.Intermediates[i].Since.Add(graceOf(d.mesh))
	if !d.now.Before(until) {
		return ""
	}
	if why := d.seen.answers(); why != "" {
		return why
	}
	if len(d.seen.Lagging) > 0 {
		return "the new intermediate is being copied to " + list(d.seen.Lagging)
	}
	for _, r := range d.seen.Replicas {
		if !slices.Contains(r.Report.Intermediates, id) {
			return "replica " + r.Pod + " of the control plane has not taken the new intermediate in yet"
		}
	}
	at := until.UTC().Format(time.RFC3339)
	if n := d.seen.Missing; len(n) > 0 {
		return fmt.Sprintf("waiting until %s at most for pods that are not connected to the control plane: %s", at, list(n))
	}
	if t := d.seen.count(acknowledged); len(t.without) > 0 {
		return fmt.Sprintf("waiting until %s at most for proxies to accept the new intermediate: %s; see their logs, or continue without them: tulle ca rotate --without %s", at, list(t.without), t.without[0])
	}
	return ""
}

func (a authorities) text() string {
	var out strings.Builder
	for _, c := range a.list {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
	}
	return out.String()
}

// signers lists those that may sign, in the order of the list.
func (a authorities) signers() string {
	var out strings.Builder
	for _, c := range a.list {
		if id := health.Fingerprint(c); a.cleared[id] {
			fmt.Fprintln(&out, id)
		}
	}
	return out.String()
}

// unsettled tells whether there is still something to ask the replicas about intermediates.
func unsettled(list []v1alpha1.IntermediateStatus) bool {
	return slices.ContainsFunc(list, func(s v1alpha1.IntermediateStatus) bool { return !s.Active || !s.Distributed })
}
