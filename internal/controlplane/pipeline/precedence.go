// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
)

// onParent is a route of a Gateway or ListenerSet.
type onParent struct{ parent, route model.Object }

// buildPrecedence resolves the conflicts between the routes of a Gateway or ListenerSet once for all of them: each
// route and each listener reads its own result only. An edit of a route's rules changes none of them.
func (g *Graph) buildPrecedence() {
	e, gw := &g.engine, &g.gateways
	candidates := incr.Derive(e, "route candidates", g.in.routes, (*gatewayapi.Candidate).Same,
		func(_ *incr.Reader, k model.Object, route *gatewayapi.Route, emit func(model.Object, *gatewayapi.Candidate)) {
			if c, ok := route.Candidate(); ok {
				emit(k, c)
			}
		})
	gw.candidates = incr.NewIndex(candidates, byObject, func(_ model.Object, c *gatewayapi.Candidate) []ofObject { return c.Parents() })
	gateways := incr.NewIndex(g.in.gateways, byKey, func(k model.Key, _ *gwapiv1.Gateway) []model.Object {
		return []model.Object{{Kind: gatewayapi.KindGateway, Namespace: k.Namespace, Name: k.Name}}
	})
	sets := incr.NewIndex(g.in.listenerSets, byKey, func(k model.Key, _ *gwapiv1.ListenerSet) []model.Object {
		return []model.Object{{Kind: gatewayapi.KindListenerSet, Namespace: k.Namespace, Name: k.Name}}
	})
	gw.precedence = incr.DeriveKeys(e, "route precedence", gatewayapi.Precedence.Same,
		func(r *incr.Reader, parent model.Object, emit func(onParent, gatewayapi.Precedence)) {
			for route, s := range gatewayapi.ReadPrecedence(g.lookup(r), parent) {
				emit(onParent{parent, route}, s)
			}
		}, gateways, sets)
	gw.takers = incr.NewIndex(gw.precedence, func(a, b onParent) int {
		return cmp.Or(byObject(a.route, b.route), byObject(a.parent, b.parent))
	}, func(_ onParent, s gatewayapi.Precedence) []gatewayapi.On { return s.Taking() })
}
