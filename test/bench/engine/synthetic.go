// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"tulle.dev/tulle/internal/controlplane/incr"
)

// synthetic has the shape of the control plane's graph and none of its
// meaning: endpoints grouped by service, routes resolved against services and
// grouped by gateway, a resource with a version for each, and a scope per
// namespace (of a hundred services).
type synthetic struct {
	eng       incr.Engine
	services  *incr.Collection[string, service]
	slices    *incr.Collection[string, slice]
	routes    *incr.Collection[string, route]
	resources []*incr.Collection[string, resource]
	size      int
	turn      int
	changed   int
}

type service struct {
	namespace string
	port      int
}

type slice struct{ service, addresses string }

type route struct {
	gateway, host, service string
	weight                 int
}

type resource struct {
	version [12]byte
	body    string
}

func same[T comparable](a, b T) bool { return a == b }

// build stands for translation and marshalling.
func build(parts ...any) resource {
	body := fmt.Sprint(parts...)
	h := sha256.Sum256([]byte(body))
	return resource{[12]byte(h[:12]), body}
}

func sameVersion(a, b resource) bool { return a.version == b.version }

func newSynthetic() graph {
	g := &synthetic{}
	e := &g.eng
	g.services = incr.NewInput[string](e, "services", same[service])
	g.slices = incr.NewInput[string](e, "slices", same[slice])
	g.routes = incr.NewInput[string](e, "routes", same[route])
	slicesOf := incr.NewIndex(g.slices, strings.Compare, func(_ string, s slice) []string { return []string{s.service} })
	routesOf := incr.NewIndex(g.routes, strings.Compare, func(_ string, r route) []string { return []string{r.service} })
	servicesIn := incr.NewIndex(g.services, strings.Compare, func(_ string, s service) []string { return []string{s.namespace} })

	endpoints := incr.DeriveKeys(e, "endpoints", sameVersion, func(r *incr.Reader, k string, emit func(string, resource)) {
		svc, ok := incr.Get(r, g.services, k)
		if !ok {
			return
		}
		var l []string
		incr.Lookup(r, slicesOf, k, func(_ string, s slice) { l = append(l, s.addresses) })
		emit("endpoints/"+k, build(svc.port, l))
	}, g.services, slicesOf)
	clusters := incr.Derive(e, "clusters", g.services, sameVersion, func(_ *incr.Reader, k string, s service, emit func(string, resource)) {
		emit("cluster/"+k, build(k, s.port))
	})
	resolved := incr.Derive(e, "resolved", g.routes, same[route], func(r *incr.Reader, k string, rt route, emit func(string, route)) {
		if _, ok := incr.Get(r, g.services, rt.service); !ok {
			rt.service = ""
		}
		emit(k, rt)
	})
	byGateway := incr.NewIndex(resolved, strings.Compare, func(_ string, r route) []string { return []string{r.gateway} })
	gateways := incr.DeriveKeys(e, "gateways", sameVersion, func(r *incr.Reader, gw string, emit func(string, resource)) {
		var l []route
		incr.Lookup(r, byGateway, gw, func(_ string, rt route) { l = append(l, rt) })
		emit("gateway/"+gw, build(l))
	}, byGateway)
	sidecars := incr.DeriveKeys(e, "sidecars", sameVersion, func(r *incr.Reader, svc string, emit func(string, resource)) {
		var l []route
		incr.Lookup(r, routesOf, svc, func(_ string, rt route) { l = append(l, rt) })
		emit("route/"+svc, build(svc, l))
	}, g.services, routesOf)
	scopes := incr.DeriveKeys(e, "scopes", sameVersion, func(r *incr.Reader, ns string, emit func(string, resource)) {
		var l []string
		incr.Lookup(r, servicesIn, ns, func(k string, _ service) { l = append(l, k) })
		emit("scope/"+ns, build(l))
	}, servicesIn)
	g.resources = []*incr.Collection[string, resource]{endpoints, clusters, gateways, sidecars, scopes}
	return g
}

func (g *synthetic) commit() {
	g.eng.Commit(func() {
		g.changed = 0
		for _, c := range g.resources {
			g.changed += len(c.Changes())
		}
	})
}

func (g *synthetic) load(n int) {
	g.size = n
	for i := range n {
		svc := fmt.Sprint("s", i)
		g.services.Set(svc, service{fmt.Sprint("ns", i/100), 80})
		for j := range 10 {
			g.slices.Set(fmt.Sprintf("e%d-%d", i, j), slice{svc, fmt.Sprintf("10.%d.%d.%d:8080", i>>8&255, i&255, j)})
		}
		g.routes.Set(fmt.Sprint("r", i), route{fmt.Sprint("g", i/20), "example.com", svc, 1})
	}
	g.commit()
}

// touched is the service whose objects change next: a hundred of them, spread
// over the mesh, take turns, as the ones that are being rolled out do.
func (g *synthetic) touched() int {
	g.turn++
	return g.turn % 100 * (g.size / 100)
}

func (g *synthetic) changeEndpoint() {
	n := g.touched()
	g.slices.Set(fmt.Sprintf("e%d-3", n), slice{fmt.Sprint("s", n), fmt.Sprintf("10.0.0.1:%d", g.turn)})
	g.commit()
}

func (g *synthetic) changeRoute() {
	n := g.touched()
	g.routes.Set(fmt.Sprint("r", n), route{fmt.Sprint("g", n/20), "example.com", fmt.Sprint("s", n), g.turn})
	g.commit()
}

func (g *synthetic) evals() int     { return g.eng.TotalEvals() }
func (g *synthetic) published() int { return g.changed }
