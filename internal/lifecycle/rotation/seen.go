// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package rotation

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	cmmeta "github.com/cert-manager/cert-manager/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Seen is what a decision depends on.
type Seen struct {
	// Facts are those of the signing intermediate and of the issuer that the Mesh names; Facts.Root is not looked at.
	Facts health.CertificateFacts
	// IssuedBy is the issuer that cert-manager wrote on the signing intermediate's Secret; nil: unknown.
	IssuedBy *cmmeta.IssuerReference
	// Next is the Certificate of the trial intermediate, NextTLS and NextCA are of its Secret.
	Next            *cmv1.Certificate
	NextTLS, NextCA []byte
	// Roots are the Certificates of self-made roots by name, RootTLS what is in their Secrets' tls.crt.
	// A name is missing where the object is.
	Roots   map[string]*cmv1.Certificate
	RootTLS map[string][]byte
	// Spread is the bundle in the system namespace's ConfigMap, Lagging are the namespaces whose
	// ConfigMap has another one, or other intermediates, sorted.
	Spread  string
	Lagging []string
	// Anchors is what that ConfigMap has about intermediates.
	Anchors Anchors
	// Replicas are the ready replicas of the control plane, of all revisions. They are asked only if Asks.
	Replicas []Replica
	// Missing are pods with a running proxy that is connected to none of them, "NAMESPACE/NAME", sorted.
	Missing []string
}

// Replica is a ready replica of the control plane.
type Replica struct {
	Pod string
	// Report is its answer; nil: it gave none.
	Report *protocol.TrustReport
}

// Asks tells whether a decision needs the replicas' answers: while the root changes, while the bundle has
// roots or the list intermediates that may no longer be needed, while an intermediate is distributed, and
// until chains must pass through one.
func Asks(m *v1alpha1.Mesh) bool {
	return m.Status.Certificates.Active() || len(m.Status.Roots) > 0 && m.Status.IntermediatesRequiredSince == nil || unsettled(m.Status.Intermediates) ||
		slices.ContainsFunc(m.Status.Roots, func(r v1alpha1.RootStatus) bool { return !r.Active })
}

// set is a set of roots, by fingerprint.
type set map[string]bool

func (s set) any(list []string) bool {
	return slices.ContainsFunc(list, func(id string) bool { return s[id] })
}

func (s set) equal(list []string) bool {
	other := set{}
	for _, id := range list {
		other[id] = true
	}
	return maps.Equal(s, other)
}

// answers tells who does not answer; empty: everybody does, and there is somebody.
func (s Seen) answers() string {
	if len(s.Replicas) == 0 {
		return "no replica of the control plane is ready"
	}
	for _, r := range s.Replicas {
		if r.Report == nil {
			return "replica " + r.Pod + " of the control plane does not tell which roots its proxies trust"
		}
	}
	return ""
}

// reportsSigners reports whether every replica answers with the intermediate that it signs with. Those of releases
// that do not require intermediates don't, and then no intermediate can leave the list: see mayLeave.
func (s Seen) reportsSigners() bool {
	return s.answers() == "" && !slices.ContainsFunc(s.Replicas, func(r Replica) bool { return r.Report.Signer == "" })
}

// tally counts proxies with a property and names those without.
type tally struct {
	done, total int
	without     []string
}

func (s Seen) count(has func(protocol.ProxyTrust) bool) tally {
	var t tally
	for _, r := range s.Replicas {
		for _, p := range r.Report.Proxies {
			t.total++
			if has(p) {
				t.done++
				continue
			}
			t.without = append(t.without, p.Namespace+"/"+p.Pod)
		}
	}
	slices.Sort(t.without)
	t.without = slices.Compact(t.without)
	return t
}

// without leaves out the pods that the Mesh says are not waited for (names.AnnotationRotateWithout).
func (s Seen) without(m *v1alpha1.Mesh) Seen {
	not := set{}
	for _, pod := range strings.Split(m.Annotations[names.AnnotationRotateWithout], ",") {
		not[strings.TrimSpace(pod)] = true
	}
	left := func(namespace, pod string) bool { return not[namespace+"/"+pod] || not[namespace+"/*"] }
	s.Missing = slices.DeleteFunc(slices.Clone(s.Missing), func(name string) bool {
		namespace, pod, _ := strings.Cut(name, "/")
		return left(namespace, pod)
	})
	s.Replicas = slices.Clone(s.Replicas)
	for i, r := range s.Replicas {
		if r.Report == nil {
			continue
		}
		report := *r.Report
		report.Proxies = slices.DeleteFunc(slices.Clone(report.Proxies), func(p protocol.ProxyTrust) bool { return left(p.Namespace, p.Pod) })
		s.Replicas[i].Report = &report
	}
	return s
}

func acknowledged(p protocol.ProxyTrust) bool { return p.Acknowledged }

// shown is how many names a message has.
const shown = 3

func list(all []string) string {
	if len(all) <= shown {
		return strings.Join(all, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(all[:shown], ", "), len(all)-shown)
}

// graceOf is how long a pod that is not connected, or does not do its part, is waited for: after that no
// certificate that it had when the wait began is valid any more.
func graceOf(m *v1alpha1.Mesh) time.Duration {
	life := m.Spec.Certificates.WorkloadLifetime.Duration
	if life <= 0 {
		life = 24 * time.Hour
	}
	return life + protocol.Backdate
}

// selfMade tells whether an issuer is one that the operator makes.
func selfMade(r cmmeta.IssuerReference) bool {
	return r.Group == certManager && r.Kind == cmv1.IssuerKind && (r.Name == names.RootSecret || r.Name == names.SecondRootSecret)
}

const certManager = "cert-manager.io"

func made(name string) cmmeta.IssuerReference {
	return cmmeta.IssuerReference{Group: certManager, Kind: cmv1.IssuerKind, Name: name}
}

// other is the name that a root of this name is followed by.
func other(name string) string {
	if name == names.RootSecret {
		return names.SecondRootSecret
	}
	return names.RootSecret
}

// spell writes a reference for status, KIND.GROUP/NAME.
func spell(r cmmeta.IssuerReference) string { return r.Kind + "." + r.Group + "/" + r.Name }

// read reads what spell writes; nil if it can't.
func read(text string) *cmmeta.IssuerReference {
	kind, name, ok := strings.Cut(text, "/")
	kind, group, dotted := strings.Cut(kind, ".")
	if !ok || !dotted || kind == "" || group == "" || name == "" {
		return nil
	}
	return &cmmeta.IssuerReference{Kind: kind, Group: group, Name: name}
}
