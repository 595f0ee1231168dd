// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"reflect"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"

	"tulle.dev/tulle/internal/controlplane/model"
)

// share is a part of a rule's requests that needs a route of its own. upTo is the part of a million of the
// requests that this share and those before it take; 0 is all that is left.
type share struct {
	model.Rule
	upTo uint32
}

// sharesOf returns the rule with the rewrite of its backends in the place of its own. Envoy can rewrite
// paths in a route, but not in a share of one (ClusterWeight): if the backends' rewrites differ, each
// backend is a rule of its own.
func sharesOf(r model.Rule) []share {
	serving := slices.DeleteFunc(slices.Clone(r.Backends), func(b model.WeightedBackend) bool { return b.Weight == 0 })
	first := slices.IndexFunc(serving, func(b model.WeightedBackend) bool { return !b.Invalid })
	same := !slices.ContainsFunc(serving, func(b model.WeightedBackend) bool {
		return !b.Invalid && !reflect.DeepEqual(b.Rewrite, serving[first].Rewrite)
	})
	if same {
		r.Rewrite = merged(r.Rewrite, serving[first].Rewrite)
		return []share{{Rule: r}}
	}
	var total, before uint64
	for _, b := range serving {
		total += uint64(b.Weight)
	}
	var out []share
	for i, b := range serving {
		one := r
		one.Backends, one.Rewrite = []model.WeightedBackend{b}, merged(r.Rewrite, b.Rewrite)
		before += uint64(b.Weight)
		upTo := uint32(0)
		if i < len(serving)-1 {
			upTo = max(uint32(before*million/total), 1)
		}
		out = append(out, share{one, upTo})
	}
	return out
}

// merged is a rule's rewrite with what a backend's says in its place.
func merged(rule, backend *model.Rewrite) *model.Rewrite {
	if rule == nil || backend == nil {
		if backend != nil {
			return backend
		}
		return rule
	}
	out := *rule
	if backend.Hostname != "" {
		out.Hostname = backend.Hostname
	}
	if backend.Path != nil {
		out.Path = backend.Path
	}
	return &out
}

// portion is the part of the requests that a route is tried for. Envoy compares one random number with the
// portions of all routes of a request, so that each share gets what is between its own and the one before.
func portion(upTo uint32) *corev3.RuntimeFractionalPercent {
	if upTo == 0 {
		return nil
	}
	return &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
		Numerator: upTo, Denominator: typev3.FractionalPercent_MILLION,
	}}
}

// shareRoute makes the route of a share.
func shareRoute(s share, refs refSet) *routev3.Route {
	route := &routev3.Route{Name: ruleName(s.Rule), Match: routeMatch(s.Match)}
	route.Match.RuntimeFraction = portion(s.upTo)
	if !anyValid(s.Backends) {
		made := direct(s.Rule)
		made.Match.RuntimeFraction = route.GetMatch().GetRuntimeFraction()
		setHeaders(made, model.HeaderMods{}, s.ResponseHeaders)
		return made
	}
	if !slices.ContainsFunc(s.Backends, modified) {
		setHeaders(route, s.RequestHeaders, s.ResponseHeaders)
	}
	route.Action = &routev3.Route_Route{Route: action(s.Rule, refs)}
	route.TypedPerFilterConfig = filterSettings(s.Rule)
	return route
}
