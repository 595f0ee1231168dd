// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"slices"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// scopes tell agents what to subscribe to: every Service that has listeners, by namespace. Filling them
// by need later changes this file alone.
type scopes struct {
	all []*incr.Collection[string, model.Scope]
}

// sidecarClusters are the clusters that are the same in every proxy, sorted.
func sidecarClusters() []string {
	var out []string
	for _, r := range envoy.Common(model.Settings{}) {
		if r.TypeURL == envoy.ClusterType {
			out = append(out, r.Name)
		}
	}
	slices.Sort(out)
	return out
}

func (g *Graph) buildScopes() {
	e, s := &g.engine, &g.services
	consumers := incr.DeriveKeys(e, "consumers", same[string],
		func(_ *incr.Reader, ns string, emit func(string, string)) { emit(ns, ns) }, s.frontendsByConsumer)
	allConsumers := incr.NewIndex(consumers, strings.Compare, func(string, string) []one { return []one{{}} })

	// A namespace that is not meshed has a scope as soon as there is something in it for proxies.
	spaces := incr.DeriveKeys(e, "scoped namespaces", same[string],
		func(_ *incr.Reader, ns string, emit func(string, string)) { emit(ns, ns) },
		g.ix.meshedNamespaces, s.frontendsByNamespace, s.podsByNamespace)
	allSpaces := incr.NewIndex(spaces, strings.Compare, func(string, string) []one { return []one{{}} })
	byNamespace := incr.Derive(e, "namespace scopes", spaces, same[model.Scope],
		func(r *incr.Reader, ns, _ string, emit func(string, model.Scope)) {
			sc := g.namespaceScope(r, ns, "")
			emit(sc.Name, sc)
			incr.Lookup(r, allConsumers, one{}, func(consumer, _ string) {
				if sc := g.namespaceScope(r, ns, consumer); sc.Name != "" {
					emit(sc.Name, sc)
				}
			})
		})
	ofMesh := incr.Derive(e, "mesh scope", g.in.settings, same[model.Scope],
		func(r *incr.Reader, _ one, _ model.Settings, emit func(string, model.Scope)) {
			sc := model.Scope{Name: names.ScopeMesh, OnDemand: g.onDemand(r)}
			incr.Lookup(r, allSpaces, one{}, func(ns, _ string) {
				sc.Include = append(sc.Include, names.ScopeNamespace(ns))
			})
			emit(sc.Name, sc)
		})
	ofConsumers := incr.Derive(e, "consumer scopes", consumers, same[model.Scope],
		func(r *incr.Reader, consumer, _ string, emit func(string, model.Scope)) {
			sc := model.Scope{Name: names.ScopeMeshFor(consumer), OnDemand: g.onDemand(r)}
			incr.Lookup(r, allSpaces, one{}, func(ns, _ string) {
				name := names.ScopeNamespaceFor(ns, consumer)
				if _, ok := incr.Get(r, byNamespace, name); !ok {
					name = names.ScopeNamespace(ns)
				}
				sc.Include = append(sc.Include, name)
			})
			emit(sc.Name, sc)
		})
	variants := g.buildVariantScopes(consumers)
	ofSidecars := incr.Derive(e, "sidecar scopes", g.in.workloads, same[model.Scope],
		func(r *incr.Reader, k model.Key, w model.Workload, emit func(string, model.Scope)) {
			if w.Kind != names.KindSidecar || w.Ended {
				return
			}
			sc := model.Scope{
				Name:      names.ScopeSidecar(k.Namespace, k.Name),
				Include:   []string{names.ScopeMesh},
				Listeners: []string{names.Inbound(k.Namespace, k.Name), names.Outbound},
				Clusters:  sidecarClusters(),
				Proxy:     g.proxySettings(r, w),
			}
			if _, ok := incr.Get(r, consumers, k.Namespace); ok {
				sc.Include = []string{names.ScopeMeshFor(k.Namespace)}
			}
			sc.Instead = insteadOf(sc, func(scope string) bool {
				_, ok := incr.Get(r, variants, scope)
				return ok
			}, names.ScopeConsumer(k.Namespace), names.ScopeNode(w.Node))
			incr.Lookup(r, s.frontendsByNode, w.Node, func(name string, f model.Frontend) { g.addFrontend(r, &sc, name, f) })
			emit(sc.Name, tidy(sc))
		})
	ofGateways := incr.Derive(e, "gateway scopes", g.in.gateways, same[model.Scope],
		func(r *incr.Reader, k model.Key, _ *gwapiv1.Gateway, emit func(string, model.Scope)) {
			sc := model.Scope{Name: names.ScopeGateway(k.Namespace, k.Name), Proxy: g.proxySettings(r, model.Workload{})}
			incr.Lookup(r, g.gateways.byGateway, k, func(p portOf, _ model.GatewayPort) {
				sc.Listeners = append(sc.Listeners, p.listener())
			})
			incr.Lookup(r, g.gateways.tablesByGateway, k, func(_ string, t model.GatewayTable) { g.addTable(r, &sc, t) })
			incr.Lookup(r, g.gateways.streamsByGateway, k, func(name string, _ []string) { g.addReach(r, &sc, name) })
			emit(sc.Name, tidy(sc))
		})
	g.scopes.all = []*incr.Collection[string, model.Scope]{byNamespace, ofMesh, ofConsumers, variants, ofSidecars, ofGateways}
}

// namespaceScope lists the frontends of a namespace for clients of one consumer, or of no particular
// one. Without a single variant for that consumer it is the zero Scope.
func (g *Graph) namespaceScope(r *incr.Reader, ns, consumer string) model.Scope {
	sc := model.Scope{Name: names.ScopeNamespace(ns)}
	if consumer != "" {
		sc.Name = names.ScopeNamespaceFor(ns, consumer)
	}
	mine := map[model.PortKey]bool{}
	if consumer != "" {
		incr.Lookup(r, g.services.frontendsByNamespace, ns, func(name string, f model.Frontend) {
			if f.Consumer == consumer {
				mine[f.Key] = true
				g.addFrontend(r, &sc, name, f)
			}
		})
		if len(mine) == 0 {
			return model.Scope{}
		}
	}
	incr.Lookup(r, g.services.frontendsByNamespace, ns, func(name string, f model.Frontend) {
		switch {
		case f.Consumer != "" || f.Node != "" || mine[f.Key]:
		case f.Local:
			sc.Local = append(sc.Local, name)
			g.addBackends(r, &sc, name, f)
		default:
			g.addFrontend(r, &sc, name, f)
		}
	})
	incr.Lookup(r, g.services.podsByNamespace, ns, func(k podPort, f model.PodFrontend) {
		sc.Listeners = append(sc.Listeners, names.PodListener(k.pod.Namespace, k.pod.Name, k.port))
		sc.Clusters = append(sc.Clusters, names.Direct(f.Service.Service.Namespace, f.Service.Service.Name, f.Service.Port))
	})
	return tidy(sc)
}

// addFrontend adds a frontend's listener and the clusters it can send to.
func (g *Graph) addFrontend(r *incr.Reader, sc *model.Scope, name string, f model.Frontend) {
	sc.Listeners = append(sc.Listeners, name)
	g.addBackends(r, sc, name, f)
}

// addBackends adds the clusters that a frontend can send to.
func (g *Graph) addBackends(r *incr.Reader, sc *model.Scope, name string, f model.Frontend) {
	for _, b := range f.Backends {
		sc.Clusters = append(sc.Clusters, clusterOf(b.Name()))
	}
	g.addReach(r, sc, name)
}

// addTable adds a table of a Gateway, its parts and the clusters they can send to.
func (g *Graph) addTable(r *incr.Reader, sc *model.Scope, t model.GatewayTable) {
	incr.Lookup(r, g.gateways.reach, t.Name, func(k partOf, clusters []string) {
		t.Parts = append(t.Parts, k.name())
		sc.Clusters = append(sc.Clusters, clusters...)
	})
	slices.Sort(t.Parts)
	sc.Tables = append(sc.Tables, t)
}

func (g *Graph) addReach(r *incr.Reader, sc *model.Scope, table string) {
	for _, c := range []*incr.Collection[string, []string]{g.services.reach, g.services.flow, g.gateways.flow} {
		clusters, _ := incr.Get(r, c, table)
		sc.Clusters = append(sc.Clusters, clusters...)
	}
}

// buildReach lists the clusters that each table names, as far as they exist. Scopes read this and not
// the tables: a new weight must not cost a look at all Services of a namespace.
func (g *Graph) buildReach(name string, tables *incr.Collection[string, model.RouteTable]) *incr.Collection[string, []string] {
	return incr.Derive(&g.engine, name, tables, same[[]string],
		func(r *incr.Reader, k string, t model.RouteTable, emit func(string, []string)) {
			emit(k, g.presentOf(r, t.Backends(model.Object{})))
		})
}

// buildFlow is buildReach for streams.
func (g *Graph) buildFlow(name string, tables *incr.Collection[string, model.StreamTable]) *incr.Collection[string, []string] {
	return incr.Derive(&g.engine, name, tables, same[[]string],
		func(r *incr.Reader, k string, t model.StreamTable, emit func(string, []string)) {
			emit(k, g.presentOf(r, t.Backends(model.Object{})))
		})
}

// presentOf are the clusters of backends, of those that there are.
func (g *Graph) presentOf(r *incr.Reader, backends []model.BackendName) []string {
	var out []string
	for _, b := range backends {
		if g.exists(r, b) {
			out = append(out, clusterOf(b))
		}
	}
	return out
}

func (g *Graph) proxySettings(r *incr.Reader, w model.Workload) *model.ProxySettings {
	s, _ := incr.Get(r, g.in.settings, one{})
	p := &model.ProxySettings{LogLevel: s.LogLevel, Concurrency: s.Concurrency, DrainSeconds: s.DrainSeconds, CertificateLifetimeSeconds: s.CertificateLifetimeSeconds, RenewIssuedBefore: s.RenewIssuedBefore}
	if w.LogLevel != "" {
		p.LogLevel = w.LogLevel
	}
	if w.Concurrency != 0 {
		p.Concurrency = w.Concurrency
	}
	if w.DrainSeconds != 0 {
		p.DrainSeconds = w.DrainSeconds
	}
	return p
}

func clusterOf(b model.BackendName) string {
	return names.Out{
		Namespace: b.Key.Service.Namespace, Service: b.Key.Service.Name, Port: b.Key.Port, As: b.As, Node: b.Node,
		TLS: b.Via.TLS, GatewayNamespace: b.Via.Gateway.Namespace, Gateway: b.Via.Gateway.Name,
	}.String()
}

// exists tells whether there is a cluster for a backend. A Gateway's own variant is made where it is
// named, of the one without its certificate.
func (g *Graph) exists(r *incr.Reader, b model.BackendName) bool {
	b.Via.Gateway = model.Key{}
	_, ok := incr.Get(r, g.services.present, clusterOf(b))
	return ok
}

func tidy(sc model.Scope) model.Scope {
	slices.Sort(sc.Clusters)
	sc.Clusters = slices.Compact(sc.Clusters)
	slices.Sort(sc.Listeners)
	sc.Listeners = slices.Compact(sc.Listeners)
	slices.Sort(sc.Local)
	return sc
}
