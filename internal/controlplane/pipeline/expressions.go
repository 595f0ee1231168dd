// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
)

// routeAt is a route at a Gateway.
type routeAt struct {
	gateway model.Key
	route   model.Object
}

// shareOf is what the routes of a namespace have in common at a Gateway.
type shareOf struct {
	gateway   model.Key
	namespace string
}

// buildExpressions finds the routes whose regular expressions are too large for a Gateway. Routes without expressions
// are in none of the collections.
func (g *Graph) buildExpressions() {
	e := &g.engine
	expressions := incr.Derive(e, "expressions at gateways", g.in.routes, same[gatewayapi.Expressions],
		func(r *incr.Reader, k model.Object, route *gatewayapi.Route, emit func(routeAt, gatewayapi.Expressions)) {
			for _, x := range gatewayapi.ReadExpressions(g.lookup(r), route) {
				emit(routeAt{x.Gateway, k}, x)
			}
		})
	byShare := incr.NewIndex(expressions, func(a, b routeAt) int {
		return cmp.Or(byKey(a.gateway, b.gateway), byObject(a.route, b.route))
	}, func(k routeAt, _ gatewayapi.Expressions) []shareOf { return []shareOf{{k.gateway, k.route.Namespace}} })
	g.gateways.excess = incr.DeriveKeys(e, "excess expressions", same[one],
		func(r *incr.Reader, share shareOf, emit func(routeAt, one)) {
			for _, route := range gatewayapi.ReadExcessExpressions(bucket(r, byShare, share)) {
				emit(routeAt{share.gateway, route}, one{})
			}
		}, byShare)
}
