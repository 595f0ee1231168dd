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
	e, gw := &g.engine, &g.gateways
	gw.parts = incr.Derive(e, "route parts", g.in.routes, same[model.RoutePart],
		func(r *incr.Reader, _ model.Object, route *gatewayapi.Route, emit func(partOf, model.RoutePart)) {
			for _, p := range gatewayapi.RouteParts(g.lookup(r), route) {
				emit(partOf{p.Table, p.Source}, p)
			}
		})
	// Scopes read this and not the parts: a new weight must not cost a look at all of a Gateway's routes.
	reach := incr.Derive(e, "route reach", gw.parts, same[[]string],
		func(r *incr.Reader, k partOf, p model.RoutePart, emit func(partOf, []string)) {
			emit(k, g.presentOf(r, p.Backends()))
		})
	gw.reach = incr.NewIndex(reach, byPart, func(k partOf, _ []string) []string { return []string{k.table} })
	gw.certified = incr.NewIndex(gw.parts, byPart, func(_ partOf, p model.RoutePart) []model.BackendName {
		return certified(p.Backends())
	})
	listeners := incr.Derive(e, "route listeners", g.in.routes, same[[]gatewayapi.On],
		func(r *incr.Reader, k model.Object, route *gatewayapi.Route, emit func(model.Object, []gatewayapi.On)) {
			if on := gatewayapi.RouteOn(g.lookup(r), route); len(on) > 0 {
				emit(k, on)
			}
		})
	gw.attached = incr.NewIndex(listeners, byObject, func(_ model.Object, on []gatewayapi.On) []gatewayapi.On { return on })
}

func byPart(a, b partOf) int {
	return cmp.Or(strings.Compare(a.table, b.table), byObject(a.route, b.route))
}
