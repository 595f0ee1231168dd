// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
)

// mesh is what the routes of a Service say together, evaluated once. If each verdict and each table evaluated it, a
// change of one route would cost the square of the number of routes.
type mesh struct {
	sent    *incr.Collection[ofPort, bool] // Service ports with senders, by the kind of these; true: of their own namespace
	routes  *incr.Collection[model.Key, gatewayapi.MeshRoutes]
	rivals  *incr.Collection[routeOn, []gatewayapi.MeshRival]
	sharing *incr.Collection[model.Key, map[uint16][]string]
	parts   *incr.Collection[model.Object, *gatewayapi.MeshPart]
	streams *incr.Collection[partOf, model.StreamTable] // what a route of bytes has in a table of a Service
}

// routeOn is a route with a Service as parent.
type routeOn struct {
	service model.Key
	route   model.Object
}

// buildMeshRoutes finds out which routes decide for the ports of each Service.
func (g *Graph) buildMeshRoutes() {
	e, m := &g.engine, &g.mesh
	m.sent = incr.DeriveKeys(e, "sent to", same[bool],
		func(r *incr.Reader, to ofPort, emit func(ofPort, bool)) {
			emit(to, gatewayapi.ReadSentTo(g.lookup(r), to))
		}, g.ix.routesByBackend)
	m.routes = incr.DeriveKeys(e, "mesh routes", gatewayapi.MeshRoutes.Same,
		func(r *incr.Reader, on ofObject, emit func(model.Key, gatewayapi.MeshRoutes)) {
			k := model.Key{Namespace: on.To.Namespace, Name: on.To.Name}
			emit(k, gatewayapi.ReadMeshRoutes(g.lookup(r), k))
		}, g.ix.routesByService)
	m.rivals = incr.Derive(e, "mesh rivals", m.routes, same[[]gatewayapi.MeshRival],
		func(_ *incr.Reader, k model.Key, v gatewayapi.MeshRoutes, emit func(routeOn, []gatewayapi.MeshRival)) {
			for route, rivals := range v.Rivals() {
				emit(routeOn{k, route}, rivals)
			}
		})
	m.sharing = incr.Derive(e, "mesh sharing", m.routes, same[map[uint16][]string],
		func(r *incr.Reader, k model.Key, v gatewayapi.MeshRoutes, emit func(model.Key, map[uint16][]string)) {
			svc, _ := incr.Get(r, g.in.services, k)
			if sharing := v.Sharing(svc); len(sharing) > 0 {
				emit(k, sharing)
			}
		})
}

// buildMeshParts builds the rules of each route by itself, so that a change of one resolves the references of that one.
func (g *Graph) buildMeshParts() {
	g.mesh.parts = incr.Derive(&g.engine, "mesh parts", g.in.routes, same[*gatewayapi.MeshPart],
		func(r *incr.Reader, id model.Object, route *gatewayapi.Route, emit func(model.Object, *gatewayapi.MeshPart)) {
			if p := gatewayapi.ReadMeshPart(g.lookup(r), route); p != nil {
				emit(id, p)
			}
		})
}

// ofEach divides tables of streams by the routes that these come from. Verdicts read this and not the tables: see mesh.
func (g *Graph) ofEach(name string, tables *incr.Collection[string, model.StreamTable]) *incr.Collection[partOf, model.StreamTable] {
	return incr.Derive(&g.engine, name, tables, same[model.StreamTable],
		func(_ *incr.Reader, table string, t model.StreamTable, emit func(partOf, model.StreamTable)) {
			for _, s := range t.Streams {
				if s.Source != (model.Object{}) {
					emit(partOf{table, s.Source}, model.StreamTable{Name: t.Name, UDP: t.UDP, Streams: []model.Stream{s}})
				}
			}
		})
}
