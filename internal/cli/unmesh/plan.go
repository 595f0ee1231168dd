// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package unmesh

import (
	"cmp"
	"fmt"
	"slices"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// Plan is what to do, in the order of its fields.
type Plan struct {
	// Mesh to delete; empty: there is none.
	Mesh string `json:"mesh"`
	// Blockers depend on the mesh and are not for this to change.
	Blockers []Blocker `json:"blockers"`
	// Permissive: meshed pods must take plaintext first, or those without a proxy can't reach them.
	Permissive bool `json:"permissive"`
	// Waves are restarted one after the other, told by their own label to have no proxy.
	Waves []Wave `json:"waves"`
	// Namespaces ask for proxies. They stop last, when the Mesh has gone: while there is somebody in the
	// mesh, the Services of a namespace that leaves it would go from his proxy in the middle of requests.
	Namespaces []string `json:"namespaces"`
}

// Blocker is something that depends on the mesh.
type Blocker struct {
	What string `json:"what"`
	// Do says what its owner can do about it.
	Do string `json:"do"`
}

// Wave is a few workloads, restarted together.
type Wave struct {
	Workloads []Ref `json:"workloads"`
}

// maxWave is how many workloads are restarted together at most.
const maxWave = 8

// Next decides. Waves grow, 1, 2, 4 and then 8 workloads, and those that have one pod only come last.
func Next(s Seen) Plan {
	p := Plan{Blockers: blockers(s), Waves: []Wave{}}
	if s.Mesh != nil {
		p.Mesh = s.Mesh.Name
		p.Permissive = s.Mesh.Spec.MTLS.Mode == v1alpha1.MTLSStrict && len(s.Pods) > 0
	}
	list := slices.DeleteFunc(slices.Clone(s.Workloads), func(w Workload) bool { return w.why() != "" })
	slices.SortFunc(list, func(a, b Workload) int {
		return cmp.Or(
			cmp.Compare(single(a), single(b)),
			cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Kind, b.Kind),
		)
	})
	for size := 1; len(list) > 0; size = min(2*size, maxWave) {
		n := min(size, len(list))
		var w Wave
		for _, x := range list[:n] {
			w.Workloads = append(w.Workloads, x.Ref)
		}
		list = list[n:]
		p.Waves = append(p.Waves, w)
	}
	p.Namespaces = append([]string{}, s.asking()...)
	return p
}

func single(w Workload) int {
	if w.Replicas < 2 {
		return 1
	}
	return 0
}

// why says why a workload can't be restarted without a proxy; empty: it can.
func (w Workload) why() string {
	if w.Fixed {
		return "its selector wants the label " + names.LabelInject + ", so it can't be changed: delete it and make it anew without"
	}
	return w.Stuck
}

func blockers(s Seen) []Blocker {
	out := []Blocker{}
	add := func(what, do string) { out = append(out, Blocker{what, do}) }
	for _, r := range s.Routes {
		add(r, "its rules stop to hold: delete it")
	}
	for _, g := range s.Gateways {
		add(g, "it stops to answer: move its traffic elsewhere and delete it")
	}
	for _, w := range s.Workloads {
		if why := w.why(); why != "" {
			add(w.String(), why)
		}
	}
	for _, p := range s.Pods {
		if p.Owner != (Ref{}) {
			continue
		}
		what, do := fmt.Sprintf("Pod %s/%s", p.Namespace, p.Name), "nobody replaces it: delete it, and make it anew without a proxy (label "+names.LabelInject+": "+names.InjectDisabled+")"
		switch {
		case p.Orphan:
			what += ", whose " + p.OwnedBy + " does not exist"
			do = "let it end, or delete it and what created it"
		case p.OwnedBy != "":
			what += " (" + p.OwnedBy + ")"
			do = "let it end, or delete its owner and make that anew without a proxy (label " + names.LabelInject + ": " + names.InjectDisabled + ")"
		}
		add(what, do)
	}
	slices.SortFunc(out, func(a, b Blocker) int { return cmp.Compare(a.What, b.What) })
	return out
}
