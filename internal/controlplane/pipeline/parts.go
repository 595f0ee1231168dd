// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"
	"strings"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// partOf is what a route has in a table of a Gateway.
type partOf struct {
	table string
	route model.Object
}

func (p partOf) name() string {
	return names.RoutePart(p.table, p.route.Kind, p.route.Namespace, p.route.Name)
}

// buildRouteParts translates each route by itself, so that a change of one costs that one. Agents put the
// parts of a table together.
func (g *Graph) buildRouteParts() {
	gw := &g.gateways
	gw.parts = []*incr.Collection[partOf, model.RoutePart]{
		routeParts(g, gatewayapi.KindHTTPRoute, g.in.httpRoutes, gatewayapi.HTTPRouteParts),
		routeParts(g, gatewayapi.KindGRPCRoute, g.in.grpcRoutes, gatewayapi.GRPCRouteParts),
	}
	for _, parts := range gw.parts {
		// Scopes read this and not the parts: a new weight must not cost a look at all of a Gateway's routes.
		reach := incr.Derive(&g.engine, parts.Name()+" reach", parts, same[[]string],
			func(r *incr.Reader, k partOf, p model.RoutePart, emit func(partOf, []string)) {
				emit(k, g.presentOf(r, p.Backends()))
			})
		gw.reach = append(gw.reach, incr.NewIndex(reach, byPart, func(k partOf, _ []string) []string { return []string{k.table} }))
		gw.certified = append(gw.certified, incr.NewIndex(parts, byPart, func(_ partOf, p model.RoutePart) []model.BackendName {
			var out []model.BackendName
			for _, b := range p.Backends() {
				if b.Via.Gateway != (model.Key{}) {
					out = append(out, b)
				}
			}
			return out
		}))
	}
	gw.attached = []*incr.Index[gatewayapi.On, onListener, one]{
		routesOn(g, gatewayapi.KindHTTPRoute, g.in.httpRoutes, gatewayapi.HTTPRouteOn),
		routesOn(g, gatewayapi.KindGRPCRoute, g.in.grpcRoutes, gatewayapi.GRPCRouteOn),
		routesOn(g, gatewayapi.KindTLSRoute, g.in.tlsRoutes, gatewayapi.TLSRouteOn),
		routesOn(g, gatewayapi.KindTCPRoute, g.in.tcpRoutes, gatewayapi.TCPRouteOn),
		routesOn(g, gatewayapi.KindUDPRoute, g.in.udpRoutes, gatewayapi.UDPRouteOn),
	}
}

func routeParts[R any](
	g *Graph, kind string, routes *incr.Collection[model.Key, R], parts func(gatewayapi.Lookup, R) []model.RoutePart,
) *incr.Collection[partOf, model.RoutePart] {
	return incr.Derive(&g.engine, kind+" parts", routes, same[model.RoutePart],
		func(r *incr.Reader, _ model.Key, route R, emit func(partOf, model.RoutePart)) {
			for _, p := range parts(g.lookup(r), route) {
				emit(partOf{p.Table, p.Source}, p)
			}
		})
}

// onListener is a route on a listener.
type onListener struct {
	gatewayapi.On
	route model.Key
}

func routesOn[R any](
	g *Graph, kind string, routes *incr.Collection[model.Key, R], on func(gatewayapi.Lookup, R) []gatewayapi.On,
) *incr.Index[gatewayapi.On, onListener, one] {
	listeners := incr.Derive(&g.engine, kind+" listeners", routes, same[one],
		func(r *incr.Reader, k model.Key, route R, emit func(onListener, one)) {
			for _, o := range on(g.lookup(r), route) {
				emit(onListener{o, k}, one{})
			}
		})
	return incr.NewIndex(listeners, func(a, b onListener) int { return byKey(a.route, b.route) }, func(k onListener, _ one) []gatewayapi.On { return []gatewayapi.On{k.On} })
}

func byPart(a, b partOf) int {
	return cmp.Or(strings.Compare(a.table, b.table), strings.Compare(a.route.Kind, b.route.Kind), strings.Compare(a.route.Namespace, b.route.Namespace), strings.Compare(a.route.Name, b.route.Name))
}
