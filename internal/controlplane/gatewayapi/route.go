// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// Route is a route of any kind, read from its object alone. It holds nothing of the object but this, and is
// never changed. RouteKind.Parse makes it.
type Route struct {
	head
	uid        types.UID
	generation int64
	rules      []rule // good or not
	// size is what the route takes in one table.
	size routeSize
}

// head is all of a route but its rules: what decides where it attaches, and which of several routes comes first.
type head struct {
	traits
	source    model.Object
	created   time.Time
	parents   []gwapiv1.ParentReference
	hostnames []string
}

// ID names the route.
func (r *Route) ID() model.Object { return r.source }

// Generation is that of the object.
func (r *Route) Generation() int64 { return r.generation }

// Same reports whether both were read from the same spec of the same object.
func (r *Route) Same(o *Route) bool { return r.uid == o.uid && r.generation == o.generation }

// rule is a rule of a route before its references are resolved.
type rule struct {
	name    string
	field   string // "spec.rules[2]"
	matches []match
	// problems keep the rule from being carried out. Its readable matches are still there: they answer 500.
	problems []Problem

	requestHeaders, responseHeaders model.HeaderMods
	redirect                        *model.Redirect // Port 0: not given
	rewrite                         *model.Rewrite
	mirrors                         []mirror
	backends                        []backend
	timeout, backendTimeout         time.Duration
	endless                         bool // a timeout of 0s is written
	retry                           *model.Retry
	cors                            *model.CORS
}

// match is one match of a rule with its place in the order of precedence; larger ranks are tried first.
type match struct {
	model.Match
	rank [5]int
	// regexSize is the size of its regular expressions, in instructions.
	regexSize int
}

type mirror struct {
	field                  string
	ref                    gwapiv1.BackendObjectReference
	numerator, denominator uint32
}

type backend struct {
	field                           string
	ref                             gwapiv1.BackendObjectReference
	weight                          uint32
	requestHeaders, responseHeaders model.HeaderMods
	rewrite                         *model.Rewrite
}

func newRoute(meta *metav1.ObjectMeta, spec *gwapiv1.CommonRouteSpec, hostnames []gwapiv1.Hostname) *Route {
	r := &Route{
		head: head{
			source:  model.Object{Namespace: meta.Namespace, Name: meta.Name},
			created: meta.CreationTimestamp.Time,
			parents: spec.ParentRefs,
		},
		uid:        meta.UID,
		generation: meta.Generation,
	}
	for _, h := range hostnames {
		r.hostnames = append(r.hostnames, strings.ToLower(string(h)))
	}
	return r
}

// valid tells whether at least one rule can be carried out; a route without is not accepted anywhere.
// A route without any rule is valid: it takes its parent's traffic and answers 404.
func (r *Route) valid() bool {
	return len(r.rules) == 0 || slices.ContainsFunc(r.rules, func(u rule) bool { return len(u.problems) == 0 })
}

// older orders routes as Gateway API's precedence does: by age, then by "namespace/name".
func older(a, b *Route) int { return a.head.compare(&b.head) }

// compare is older.
func (r *head) compare(b *head) int {
	if c := r.created.Compare(b.created); c != 0 {
		return c
	}
	if r.source.Namespace != b.source.Namespace {
		return strings.Compare(r.source.Namespace+"/", b.source.Namespace+"/")
	}
	return cmp.Or(strings.Compare(r.source.Name, b.source.Name), strings.Compare(r.source.Kind, b.source.Kind))
}

// acceptance is the finding on a route's own content.
func (r *Route) acceptance() Finding {
	if r.valid() {
		return Finding{true, string(gwapiv1.RouteReasonAccepted), "The route is accepted"}
	}
	var ps []Problem
	for _, u := range r.rules {
		ps = append(ps, u.problems...)
	}
	return Finding{false, ps[0].Reason, Tell(ps)}
}

// partial is the finding PartiallyInvalid of a route that is accepted; false where all rules are good.
func (r *Route) partial() (Finding, bool) {
	var ps []Problem
	for _, u := range r.rules {
		for _, p := range u.problems {
			label := "Dropped Rule " + u.field
			if u.name != "" {
				label += " (" + u.name + ")"
			}
			ps = append(ps, Problem{p.Reason, label + ", whose requests are answered with 500: " + p.Text})
		}
	}
	if len(ps) == 0 {
		return Finding{}, false
	}
	return Finding{true, ps[0].Reason, Tell(ps)}, true
}
