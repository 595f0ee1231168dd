// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package shadow

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"tulle.dev/tulle/internal/protocol"
)

// Translation is what a replica of a control plane tells of itself.
type Translation = protocol.Translation

// Object is something wrong with an object of a user, or with the translation of one.
type Object = protocol.RejectedObject

// Difference is what the new control plane would do otherwise than the old one. The zero value is
// no difference.
type Difference struct {
	// Old and New are releases.
	Old string `json:"old"`
	New string `json:"new"`
	// Kinds of resources of which there are any, in a fixed order.
	Kinds []Kind `json:"kinds"`
	// Rejected are the objects that the new release rejects and the old one accepts; see NewlyRejected.
	Rejected []Object `json:"newlyRejected"`
}

// Kind is one kind of resources.
type Kind struct {
	// Type is the type URL.
	Type string `json:"type"`
	// Old and New count all resources.
	Old int `json:"old"`
	New int `json:"new"`
	// Added, Removed and Changed are names, sorted.
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	Changed []string `json:"changed,omitempty"`
}

// same tells whether nothing of the kind differs.
func (k Kind) same() bool { return len(k.Added)+len(k.Removed)+len(k.Changed) == 0 }

// Diff compares. Both ought to be Synced: before that, everything seems to be missing.
func Diff(before, after Translation) Difference {
	d := Difference{Old: before.Version, New: after.Version, Kinds: []Kind{}, Rejected: []Object{}}
	types := map[string]bool{}
	for t := range before.Resources {
		types[t] = true
	}
	for t := range after.Resources {
		types[t] = true
	}
	for _, t := range slices.SortedFunc(maps.Keys(types), byPlace) {
		d.Kinds = append(d.Kinds, kind(t, before.Resources[t], after.Resources[t]))
	}
	known := map[Object]bool{}
	for _, o := range wrongs(before) {
		known[identity(o)] = true
	}
	for _, o := range wrongs(after) {
		if !known[identity(o)] {
			d.Rejected = append(d.Rejected, o)
		}
	}
	return d
}

func kind(t string, before, after map[string]string) Kind {
	k := Kind{Type: t, Old: len(before), New: len(after)}
	for name, hash := range after {
		switch old, was := before[name]; {
		case !was:
			k.Added = append(k.Added, name)
		case old != hash:
			k.Changed = append(k.Changed, name)
		}
	}
	for name := range before {
		if _, is := after[name]; !is {
			k.Removed = append(k.Removed, name)
		}
	}
	slices.Sort(k.Added)
	slices.Sort(k.Changed)
	slices.Sort(k.Removed)
	return k
}

// Condition and reason of an Object that stands for a translation that failed.
const (
	conditionTranslated = "Translated"
	reasonInternalError = "InternalError"
)

// wrongs are all that is wrong in a translation. One that failed is an object too: what was not
// translated is not carried out, whoever's fault it is.
func wrongs(t Translation) []Object {
	out := slices.Clone(t.Rejected)
	for _, f := range t.Failed {
		out = append(out, Object{Kind: f.Step, Name: f.Key, Condition: conditionTranslated, Reason: reasonInternalError, Message: f.Problem})
	}
	slices.SortFunc(out, func(a, b Object) int {
		return cmp.Or(
			strings.Compare(a.Kind, b.Kind), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name),
			strings.Compare(a.Where, b.Where), strings.Compare(a.Condition, b.Condition),
		)
	})
	return out
}

// identity is what makes two Objects the same complaint. Releases may find other words for it.
func identity(o Object) Object {
	o.Reason, o.Message = "", ""
	return o
}

// None tells whether nothing differs and nothing is newly rejected.
func (d Difference) None() bool {
	return len(d.Rejected) == 0 && !slices.ContainsFunc(d.Kinds, func(k Kind) bool { return !k.same() })
}

// NewlyRejected are the objects that the old release carries out and the new one doesn't, sorted.
// Nothing that the old release rejects too is among them.
func (d Difference) NewlyRejected() []Object { return d.Rejected }

// Confirmed keeps of a difference what a later look shows too. Two replicas that are asked one after
// the other differ by what happened in between, such as a pod that went; that is not the releases'.
func (d Difference) Confirmed(later Difference) Difference {
	out := Difference{Old: later.Old, New: later.New, Kinds: slices.Clone(later.Kinds), Rejected: []Object{}}
	for i := range out.Kinds {
		k := &out.Kinds[i]
		var first Kind
		if j := slices.IndexFunc(d.Kinds, func(f Kind) bool { return f.Type == k.Type }); j >= 0 {
			first = d.Kinds[j]
		}
		k.Added, k.Removed, k.Changed = both(first.Added, k.Added), both(first.Removed, k.Removed), both(first.Changed, k.Changed)
	}
	known := map[Object]bool{}
	for _, o := range d.Rejected {
		known[identity(o)] = true
	}
	for _, o := range later.Rejected {
		if known[identity(o)] {
			out.Rejected = append(out.Rejected, o)
		}
	}
	return out
}

// both are the names in both of two sorted lists.
func both(a, b []string) []string {
	var out []string
	for _, name := range b {
		if _, found := slices.BinarySearch(a, name); found {
			out = append(out, name)
		}
	}
	return out
}
