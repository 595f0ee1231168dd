// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"maps"
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

type verdicts struct {
	routes   *incr.Collection[model.Object, status.RouteVerdict]
	gateways *incr.Collection[model.Key, status.GatewayVerdict]
	sets     *incr.Collection[model.Key, status.ListenerSetVerdict]
	policies *incr.Collection[model.Object, status.PolicyVerdict]
}

func (g *Graph) buildVerdicts() {
	e := &g.engine
	g.verdicts.routes = incr.Derive(e, "route verdicts", g.in.routes, same[status.RouteVerdict],
		func(r *incr.Reader, id model.Object, route *gatewayapi.Route, emit func(model.Object, status.RouteVerdict)) {
			emit(id, g.routeVerdict(r, id, route.Generation(), gatewayapi.RouteParents(g.lookup(r), route)))
		})
	g.verdicts.policies = incr.Derive(e, "policy verdicts", g.in.policies, same[status.PolicyVerdict],
		func(r *incr.Reader, id model.Object, p *policy.Policy, emit func(model.Object, status.PolicyVerdict)) {
			emit(id, status.PolicyVerdict{Generation: p.Generation(), Ancestors: policy.Ancestors(g.lookup(r), p)})
		})
	g.verdicts.gateways = incr.Derive(e, "gateway verdicts", g.in.gateways, same[status.GatewayVerdict],
		func(r *incr.Reader, k model.Key, gw *gwapiv1.Gateway, emit func(model.Key, status.GatewayVerdict)) {
			v, ok := gatewayapi.GatewayStatus(g.lookup(r), k)
			if !ok {
				return
			}
			out := status.GatewayVerdict{Generation: gw.Generation, GatewayVerdict: v}
			incr.Lookup(r, g.ix.serviceByGateway, k, func(_ model.Key, svc model.Service) {
				out.Addresses = append(out.Addresses, svc.Published...)
				for _, a := range svc.VIPs {
					out.ClusterAddresses = append(out.ClusterAddresses, a.String())
				}
			})
			out.Need = g.gatewayNeeds(r, k, gw.Generation)
			emit(k, out)
		})
	g.verdicts.sets = incr.Derive(e, "listener set verdicts", g.in.listenerSets, same[status.ListenerSetVerdict],
		func(r *incr.Reader, k model.Key, set *gwapiv1.ListenerSet, emit func(model.Key, status.ListenerSetVerdict)) {
			if v, ok := gatewayapi.ListenerSetStatus(g.lookup(r), set); ok {
				emit(k, status.ListenerSetVerdict{Generation: set.Generation, ListenerSetVerdict: v, Need: g.gatewayNeeds(r, v.Gateway, set.Generation)})
			}
		})
}

// gatewayNeeds is what proxies must have acknowledged of a Gateway's ports for an object of that generation.
func (g *Graph) gatewayNeeds(r *incr.Reader, gateway model.Key, generation int64) status.Requirement {
	need := status.Requirement{Generation: generation, Near: status.Near{Gateway: gateway}}
	var ports []model.GatewayPort
	incr.Lookup(r, g.gateways.byGateway, gateway, func(k portOf, p model.GatewayPort) {
		ports = append(ports, p)
		need.Lead = append(need.Lead, xds.Key{TypeURL: envoy.ListenerType, Name: k.listener()})
	})
	need.Config = model.Hash(envoy.Revision, ports)
	return need
}

// routeVerdict finds the tables that carry the route's rules for each parent: with these and the
// clusters and endpoints of the rules acknowledged, nothing is left for a proxy to warm.
func (g *Graph) routeVerdict(r *incr.Reader, id model.Object, generation int64, parents []gatewayapi.RouteParent) status.RouteVerdict {
	v := status.RouteVerdict{Generation: generation, Parents: parents, Needs: make([]status.Requirement, len(parents))}
	for i, p := range parents {
		need := &v.Needs[i]
		near := map[string]bool{id.Namespace: true}
		var rules []model.Rule
		var streams []model.Stream
		for _, name := range g.withNodes(r, p.Tables) {
			if namespace, gateway, ok := names.GatewayOf(name); ok {
				need.Near.Gateway = model.Key{Namespace: namespace, Name: gateway}
			}
			if s, ok := g.streamsNamed(r, name, id); ok {
				need.Lead = append(need.Lead, xds.Key{TypeURL: envoy.ListenerType, Name: names.ListenerOf(name)})
				need.Follow = append(need.Follow, xds.Key{})
				streams = append(streams, s.From(id)...)
				if !s.UDP {
					// Proxies ask for it before they acknowledge the listener. If that has no chain for the
					// route, having no certificate, they don't, and there is nothing to wait for.
					need.Rest = append(need.Rest, xds.Key{TypeURL: envoy.ExtensionType, Name: names.Stream(name, id.Kind, id.Namespace, id.Name)})
				}
				need.Rest = append(need.Rest, g.clustersAndEndpoints(r, s.Backends(id), near)...)
				continue
			}
			if p, ok := g.partNamed(r, name, id); ok {
				need.Lead = append(need.Lead, xds.Key{TypeURL: envoy.ListenerType, Name: names.ListenerOf(name)})
				need.Follow = append(need.Follow, xds.Key{TypeURL: envoy.RoutePartType, Name: partOf{name, id}.name()})
				for _, rule := range p.Rules {
					rules = append(rules, rule.Rule)
				}
				need.Rest = append(need.Rest, g.clustersAndEndpoints(r, p.Backends(), near)...)
				continue
			}
			o, err := names.ParseOut(name)
			if _, ok := incr.Get(r, g.services.frontends, name); !ok || err != nil {
				continue
			}
			need.Lead = append(need.Lead, xds.Key{TypeURL: envoy.ListenerType, Name: names.ListenerOf(name)})
			need.Follow = append(need.Follow, xds.Key{TypeURL: envoy.RoutesType, Name: name})
			if o.Node != "" || o.Consumer != "" {
				shared := o
				shared.As = names.AsShared // agents that know variants have that one
				need.Lead = append(need.Lead, xds.Key{TypeURL: envoy.ListenerType, Name: shared.String()})
				need.Follow = append(need.Follow, xds.Key{TypeURL: envoy.RoutesType, Name: name})
			}
			// Its own rules and not the table, which a change of any route of the Service changes.
			if p, ok := incr.Get(r, g.mesh.parts, id); ok {
				t := gatewayapi.MeshRules(p, g.onOwnNode(r, o))
				rules = append(rules, t.From(id)...)
				need.Rest = append(need.Rest, g.clustersAndEndpoints(r, t.Backends(id), near)...)
			}
		}
		need.Rest = uniqueKeys(need.Rest)
		need.Near.Namespaces = slices.Sorted(maps.Keys(near))
		need.Generation = generation
		need.Config = model.Hash(envoy.Revision, struct {
			Generation int64
			Tables     []string
			Rules      []model.Rule
			Streams    []model.Stream `json:",omitzero"`
			Idle       bool           `json:",omitzero"`
		}{generation, p.Tables, rules, streams, p.Idle})
	}
	return v
}

// onOwnNode names the table of a Service port as its clusters are named: see buildLocal.
func (g *Graph) onOwnNode(r *incr.Reader, o names.Out) names.Out {
	port := model.PortKey{Service: model.Key{Namespace: o.Namespace, Name: o.Service}, Port: o.Port}
	if perNode, local := incr.Get(r, g.services.local, port); local && !perNode && o.Node == "" && o.Consumer == "" {
		o.Node = names.OwnNode
	}
	return o
}

// partNamed finds what a route has in a table that a Gateway serves.
func (g *Graph) partNamed(r *incr.Reader, table string, route model.Object) (p model.RoutePart, ok bool) {
	if _, served := incr.Get(r, g.gateways.tables, table); !served {
		return p, false
	}
	return incr.Get(r, g.gateways.parts, partOf{table, route})
}

// streamsNamed finds what a route has in the streams of a Service port or a Gateway's listener.
func (g *Graph) streamsNamed(r *incr.Reader, table string, route model.Object) (model.StreamTable, bool) {
	if t, ok := incr.Get(r, g.mesh.streams, partOf{table, route}); ok {
		return t, true
	}
	return incr.Get(r, g.gateways.ofRoutes, partOf{table, route})
}

// clustersAndEndpoints adds the namespaces of the backends to near.
func (g *Graph) clustersAndEndpoints(r *incr.Reader, backends []model.BackendName, near map[string]bool) []xds.Key {
	for _, b := range backends {
		near[b.Key.Service.Namespace] = true
	}
	var out []xds.Key
	for _, c := range g.presentOf(r, backends) {
		out = append(out, xds.Key{TypeURL: envoy.ClusterType, Name: c}, xds.Key{TypeURL: envoy.EndpointsType, Name: c})
	}
	return out
}

// withNodes replaces tables by their variants: of a Service with internalTrafficPolicy Local, every client
// has the one of its node.
func (g *Graph) withNodes(r *incr.Reader, tables []string) []string {
	var out []string
	for _, name := range tables {
		base, err := names.ParseOut(name)
		if err != nil || base.Consumer != "" { // a Gateway's, or of clients that no node's variant is for
			out = append(out, name)
			continue
		}
		port := model.PortKey{Service: model.Key{Namespace: base.Namespace, Name: base.Service}, Port: base.Port}
		perNode, _ := incr.Get(r, g.services.local, port)
		if !perNode {
			out = append(out, name)
			continue
		}
		incr.Lookup(r, g.services.nodes, one{}, func(node, _ string) {
			base.Node = node
			out = append(out, base.String())
		})
	}
	return out
}

func uniqueKeys(ks []xds.Key) []xds.Key {
	var out []xds.Key
	seen := make(map[xds.Key]bool, len(ks))
	for _, k := range ks {
		if !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}
