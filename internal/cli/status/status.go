// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package status makes the one-page view of a mesh from facts: what was
// asked for, what serves, the proxies by release, and what wants attention.
//
// It is pure and judges nothing itself: whatever is wrong comes from package
// check. Invariant: every proxy is counted in exactly one group.
package status

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli/check"
	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/cli/ports"
)

// Report is the view; its JSON is what "tulle status -o json" prints.
type Report struct {
	Mesh         *Mesh      `json:"mesh,omitempty"`
	ControlPlane []Replicas `json:"controlPlane"`
	Proxies      []Group    `json:"proxies"`
	// Bytes are the ports of meshed Services that are carried as bytes because nothing says what they speak.
	Bytes    []ports.Port    `json:"carriedAsBytes"`
	Findings []check.Finding `json:"findings"`
}

// Mesh is the active Mesh.
type Mesh struct {
	Name        string `json:"name"`
	Wanted      string `json:"wantedVersion"`
	Serving     string `json:"servingVersion"`
	TrustDomain string `json:"trustDomain"`
	MTLS        string `json:"mtls"`
	Ready       bool   `json:"ready"`
	Reason      string `json:"reason"`
}

// Replicas is one revision of the control plane.
type Replicas struct {
	Name     string `json:"name"`
	Revision string `json:"revision"`
	Ready    int32  `json:"ready"`
	Wanted   int32  `json:"wanted"`
}

// Group is all proxies of one kind and release.
type Group struct {
	Kind    string `json:"kind"`
	Version string `json:"version"`
	Pods    int    `json:"pods"`
	Ready   int    `json:"ready"`
	// Connected have a stream to the control plane; nil when it could not be asked.
	Connected *int `json:"connected,omitempty"`
	Rejecting int  `json:"rejecting"`
}

// Of makes the view.
func Of(f facts.Facts) Report {
	r := Report{ControlPlane: []Replicas{}, Proxies: groups(f), Bytes: ports.Bytes(f.World), Findings: []check.Finding{}}
	if _, unread := f.Missed(facts.UnreadServices); unread || r.Bytes == nil {
		r.Bytes = []ports.Port{} // that they could not be read is among the findings
	}
	if m, there := f.ActiveMesh(); there {
		ready := meta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionReady)
		r.Mesh = &Mesh{
			Name: m.Name, Wanted: m.Spec.Version, Serving: m.Status.Version,
			TrustDomain: m.Spec.TrustDomain, MTLS: string(m.Spec.MTLS.Mode),
		}
		if ready != nil {
			r.Mesh.Ready, r.Mesh.Reason = ready.Status == "True", ready.Reason
		}
	}
	for _, w := range f.ControlPlane {
		r.ControlPlane = append(r.ControlPlane, Replicas{Name: w.Name, Revision: w.Revision, Ready: w.Ready, Wanted: w.Wanted})
	}
	for _, finding := range check.Health(f) {
		if finding.Level != check.OK && finding.Level != check.Notice {
			r.Findings = append(r.Findings, finding)
		}
	}
	return r
}

func groups(f facts.Facts) []Group {
	streams := map[string]facts.Stream{}
	for _, s := range f.Streams {
		streams[s.Namespace+"/"+s.Pod] = s
	}
	_, unread := f.Missed(facts.UnreadControlPlane)
	type key struct{ kind, version string }
	byKey := map[key]*Group{}
	for _, p := range f.Proxies {
		k := key{p.Kind, p.Version}
		g := byKey[k]
		if g == nil {
			g = &Group{Kind: p.Kind, Version: p.Version}
			if !unread {
				g.Connected = new(int)
			}
			byKey[k] = g
		}
		g.Pods++
		if p.Ready {
			g.Ready++
		}
		s, connected := streams[p.Namespace+"/"+p.Name]
		if connected && g.Connected != nil {
			*g.Connected++
		}
		if s.Rejected > 0 || len(s.Nacks) > 0 {
			g.Rejecting++
		}
	}
	out := []Group{}
	for _, g := range byKey {
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b Group) int {
		return cmp.Or(cmp.Compare(a.Version, b.Version), cmp.Compare(a.Kind, b.Kind))
	})
	return out
}
