// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"slices"
	"strings"
)

// Subject is something whose acknowledgement is told on an object: a route on one of its parents,
// or a Gateway.
type Subject struct {
	Kind, Namespace, Name string
	// Parent is the index of the parentRef in the route's spec; 0 for a Gateway.
	Parent int
}

// Progress says how far the proxies of one or more replicas are with a Subject.
type Progress struct {
	// Config identifies the configuration that is meant: replicas that speak of another are behind or ahead.
	Config string
	// Generation of the object that it was made for. It says the same in every release; 0 from a
	// replica that does not tell.
	Generation int64 `json:",omitempty"`
	// Needed proxies hold the listener; Acked of them have acknowledged everything.
	Needed, Acked int
	// Rejections are those of proxies that the Subject concerns, whether they need it or not: sorted,
	// without duplicates, at most maxRejections.
	Rejections []Rejection
	// Split tells that the three below are given; false from a replica of a release up to 0.2.0.
	Split bool `json:",omitempty"`
	// Pending of the proxies that need the Subject have not acknowledged it and are concerned by it; Others
	// are those that are not concerned, by namespace, the largest number first, at most maxOthers and one
	// for the rest.
	Pending int     `json:",omitempty"`
	Others  []Other `json:",omitempty"`
	// Elsewhere proxies that neither need the Subject nor are concerned by it have rejected a part of it.
	Elsewhere int `json:",omitempty"`
}

// Rejection is a proxy's refusal in its own words.
type Rejection struct{ Proxy, Message string }

const maxRejections = 3

// Done tells whether nothing is left to wait for.
func (p Progress) Done() bool { return p.Acked >= p.Needed && len(p.Rejections) == 0 }

// split returns the progress with what a replica of an older release does not tell: who is concerned is
// known by the proxies' names, and those that are pending count as if they were concerned.
func (p Progress) split(near Near) Progress {
	if p.Split {
		return p
	}
	p.Split, p.Pending = true, max(0, p.Needed-p.Acked)
	var kept []Rejection
	for _, r := range p.Rejections {
		if near.mayHave(r.Proxy) {
			kept = append(kept, r)
		} else {
			p.Elsewhere++
		}
	}
	p.Rejections = kept
	return p
}

// Standing of a replica's progress towards a configuration.
type standing int

const (
	// behind: it speaks of another configuration and will soon speak of this one.
	behind standing = iota
	// counts: it speaks of this configuration.
	counts
	// unknown: it is of another release and can't speak of this configuration; it is left out.
	unknown
)

// towards tells how a replica's progress stands to the configuration that another replica means.
// Releases may make different configurations of the same objects, so between them the generation of
// the object is compared instead: it is all that both know of. A change elsewhere (of a backend, say)
// is then counted as acknowledged by the proxies of the other release a moment before they have it.
// told is false if the replica said nothing of the Subject.
func (p Progress) towards(config string, generation int64, told, sameRelease bool) standing {
	switch {
	case told && p.Config == config:
		return counts
	case sameRelease:
		return behind
	case !told || p.Generation == 0:
		return unknown
	case p.Generation == generation:
		return counts
	}
	return behind
}

// Merge adds up the progress of several replicas. ok is false while one of them speaks of another
// configuration than the first.
func Merge(all []Progress) (sum Progress, ok bool) {
	for i, p := range all {
		if i == 0 {
			sum.Config = p.Config
		}
		if p.Config != sum.Config {
			return Progress{}, false
		}
		sum.Needed += p.Needed
		sum.Acked += p.Acked
		sum.Rejections = append(sum.Rejections, p.Rejections...)
		sum.Pending += p.Pending
		sum.Elsewhere += p.Elsewhere
		for _, o := range p.Others {
			i := slices.IndexFunc(sum.Others, func(x Other) bool { return x.Namespace == o.Namespace })
			if i < 0 {
				sum.Others = append(sum.Others, o)
				continue
			}
			sum.Others[i].Pending += o.Pending
			sum.Others[i].Rejected += o.Rejected
		}
	}
	sum.Rejections = trimRejections(sum.Rejections)
	sum.Others = trimOthers(sum.Others)
	return sum, len(all) > 0
}

func trimRejections(rs []Rejection) []Rejection {
	slices.SortFunc(rs, func(a, b Rejection) int {
		if c := strings.Compare(a.Proxy, b.Proxy); c != 0 {
			return c
		}
		return strings.Compare(a.Message, b.Message)
	})
	rs = slices.Compact(rs)
	return rs[:min(len(rs), maxRejections)]
}
