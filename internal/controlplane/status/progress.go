// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"fmt"
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
	// Rejections are sorted, without duplicates, at most maxRejections.
	Rejections []Rejection
}

// Rejection is a proxy's refusal in Envoy's own words.
type Rejection struct{ Proxy, Message string }

const maxRejections = 3

// Done tells whether nothing is left to wait for.
func (p Progress) Done() bool { return p.Acked >= p.Needed && len(p.Rejections) == 0 }

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
	}
	sum.Rejections = trimRejections(sum.Rejections)
	return sum, len(all) > 0
}

func trimRejections(rs []Rejection) []Rejection {
	slices.SortFunc(rs, func(a, b Rejection) int {
		if c := strings.Compare(a.Message, b.Message); c != 0 {
			return c
		}
		return strings.Compare(a.Proxy, b.Proxy)
	})
	rs = slices.Compact(rs)
	return rs[:min(len(rs), maxRejections)]
}

// Outcome is the state of the condition Programmed. Settled is what makes it stay: the configuration
// it was reached with.
type Outcome struct {
	Programmed      bool
	Reason, Message string
	Settled         string
}

// Reasons of the condition tulle.dev/Programmed.
const (
	// ReasonAcknowledged: every connected proxy that needs the configuration has acknowledged it.
	ReasonAcknowledged = "Acknowledged"
	// ReasonListenerNotServed: no listener that the route is attached to is given to proxies.
	ReasonListenerNotServed = "ListenerNotServed"
	// ReasonNoProxies: no connected proxy needs the configuration.
	ReasonNoProxies = "NoProxies"
	// ReasonPending: some proxies have not acknowledged it yet.
	ReasonPending = "Pending"
	// ReasonRejected: a proxy refused it; it keeps its last good configuration.
	ReasonRejected = "Rejected"
)

// Judge decides the condition from the progress over all replicas and the last outcome. A settled
// configuration stays settled while proxies come and go; one that nobody needed is settled anew
// once somebody has acknowledged it, and not taken back until then.
func Judge(last Outcome, p Progress) Outcome {
	switch {
	case len(p.Rejections) > 0:
		r := p.Rejections[0]
		return Outcome{Reason: ReasonRejected, Message: fmt.Sprintf("proxy %s rejected it and keeps its last good configuration: %s", r.Proxy, r.Message)}
	case last.Programmed && last.Settled == p.Config && (last.Reason != ReasonNoProxies || p.Acked < p.Needed):
		return last
	case p.Needed == 0:
		return Outcome{Programmed: true, Reason: ReasonNoProxies, Message: "no connected proxy needs it", Settled: p.Config}
	case p.Acked >= p.Needed:
		return Outcome{Programmed: true, Reason: ReasonAcknowledged, Message: fmt.Sprintf("acknowledged by %d of %d proxies", p.Acked, p.Needed), Settled: p.Config}
	}
	return Outcome{Reason: ReasonPending, Message: fmt.Sprintf("acknowledged by %d of %d proxies", p.Acked, p.Needed)}
}
