// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"slices"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/webroots"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// buildResources makes an xDS resource of every value of the model, each once for all proxies.
func (g *Graph) buildResources() {
	s, gw := &g.services, &g.gateways
	publish(g, "listener resources", s.listeners, envoy.Listener)
	publish(g, "shared listener resources", g.buildSharedListeners(), func(l sharedListener) envoy.Resource {
		r := envoy.Listener(l.Frontend)
		r.Name = l.Name
		return r
	})
	publish(g, "pod listener resources", s.pods, envoy.PodListener)
	publish(g, "mesh route resources", s.tables, envoy.Routes)
	publish(g, "cluster resources", s.backends, envoy.Cluster)
	publishNear(g, "endpoint resources", s.endpoints, endpointsAt, envoy.Endpoints)
	publishNear(g, "peer resources", s.peers, peersAt, envoy.PeerSecret)
	publish(g, "inbound resources", g.proxies.inbound, envoy.Inbound)
	publish(g, "gateway listener resources", gw.listeners, envoy.GatewayListener)
	publish(g, "mesh stream resources", g.sent("mesh streams sent", s.streams), envoy.Sent)
	publish(g, "gateway stream resources", g.sent("gateway streams sent", gw.streams), envoy.Sent)
	publish(g, "route part resources", gw.parts, envoy.RoutePart)
	publish(g, "authority resources", s.authorities, envoy.BackendCA)
	publish(g, "gateway client resources", gw.clients, envoy.GatewayClients)
	publish(g, "gateway cluster resources", gw.backends, envoy.Cluster)
	publishNear(g, "gateway endpoint resources", gw.endpoints, endpointsAt, envoy.Endpoints)
	publish(g, "client listener resources", g.clients.targets, envoy.ClientListener)
	publish(g, "client route resources", g.clients.tables, envoy.ClientRoutes)
	publish(g, "client cluster resources", g.clients.backends, envoy.ClientCluster)
	publishNear(g, "client endpoint resources", g.clients.endpoints, clientEndpointsAt, envoy.ClientEndpoints)
	publish(g, "destination cluster resources", g.destinations.clusters, envoy.DestinationCluster)
	publish(g, "destination endpoint resources", g.destinations.endpoints, envoy.DestinationEndpoints)
	publish(g, "account peer resources", g.destinations.accounts, envoy.AccountSecret)
	for _, c := range g.scopes.all {
		publish(g, c.Name()+" resources", c, envoy.Scope)
	}
	certificates := incr.Derive(&g.engine, "gateway certificate resources", gw.secrets, sameVersion,
		func(_ *incr.Reader, k secretOf, v model.TLSSecret, emit func(xds.Key, xds.Resource)) {
			r := resource(envoy.TLSSecret(k.gateway, v), v)
			emit(r.Key, r)
		})
	common := incr.Derive(&g.engine, "common resources", g.in.settings, sameVersion,
		func(r *incr.Reader, _ one, v model.Settings, emit func(xds.Key, xds.Resource)) {
			roots, _ := incr.Get(r, g.in.roots, one{})
			v.RenewIssuedBefore = 0 // for agents alone: Envoy's resources are not to look changed
			for _, c := range append(envoy.Common(v), envoy.TrustSecret(roots, v.TrustDomain)) {
				res := resource(c, []any{v, roots})
				emit(res.Key, res)
			}
		})
	webRoots := resource(envoy.SystemRoots(webroots.PEM()), webroots.PEM())
	system := incr.Derive(&g.engine, "system roots", g.in.settings, sameVersion,
		func(_ *incr.Reader, _ one, _ model.Settings, emit func(xds.Key, xds.Resource)) {
			emit(webRoots.Key, webRoots)
		})
	invalid := incr.DeriveKeys(&g.engine, "client resources without backend", sameVersion,
		func(_ *incr.Reader, invalid bool, emit func(xds.Key, xds.Resource)) {
			if invalid {
				noBackend, none := envoy.ClientNoBackend()
				for _, e := range []envoy.Resource{noBackend, none} {
					r := resource(e, nil)
					emit(r.Key, r)
				}
			}
		}, g.clients.invalid)
	g.resources = append(g.resources, certificates, common, system, invalid)
}

func publish[K comparable, V any](g *Graph, name string, src *incr.Collection[K, V], translate func(V) envoy.Resource) {
	g.resources = append(g.resources, incr.Derive(&g.engine, name, src, sameVersion,
		func(_ *incr.Reader, _ K, v V, emit func(xds.Key, xds.Resource)) {
			r := resource(translate(v), v)
			emit(r.Key, r)
		}))
}

// publishNear is publish for what may be different for clients at certain places: endpoints, and identities behind them. at returns those
// of a value: the ones without a place first.
func publishNear[K comparable, V any](g *Graph, name string, src *incr.Collection[K, V], at func(V) (all V, near []placed[V]), translate func(V) envoy.Resource) {
	g.resources = append(g.resources, incr.Derive(&g.engine, name, src, sameVersion,
		func(_ *incr.Reader, _ K, v V, emit func(xds.Key, xds.Resource)) {
			all, near := at(v)
			r := resource(translate(all), all)
			for _, n := range near {
				there := resource(translate(n.value), n.value)
				r.Variants = append(r.Variants, xds.Variant{Place: n.place.String(), Version: there.Version, Body: there.Body})
			}
			emit(r.Key, r)
		}))
}

// placed is a value for clients at a place. It does not say which place: where two places have the same
// endpoints, a client that comes from one to the other is sent nothing.
type placed[V any] struct {
	place model.Place
	value V
}

func endpointsAt(e model.Endpoints) (all model.Endpoints, near []placed[model.Endpoints]) {
	for _, n := range e.Near {
		v := e
		v.List, v.Near = n.List, nil
		near = append(near, placed[model.Endpoints]{n.Place, v})
	}
	e.Near = nil
	return e, near
}

func clientEndpointsAt(e model.ClientEndpoints) (all model.ClientEndpoints, near []placed[model.ClientEndpoints]) {
	rest, l := endpointsAt(e.Endpoints)
	for _, n := range l {
		near = append(near, placed[model.ClientEndpoints]{n.place, model.ClientEndpoints{Endpoints: n.value, Transport: e.Transport}})
	}
	return model.ClientEndpoints{Endpoints: rest, Transport: e.Transport}, near
}

func peersAt(p model.Peers) (all model.Peers, near []placed[model.Peers]) {
	if len(p.Foreign) > 0 {
		own := p
		own.Identities = slices.DeleteFunc(slices.Clone(p.Identities), func(id string) bool { return slices.Contains(p.Foreign, id) })
		own.Foreign = nil
		near = append(near, placed[model.Peers]{model.Place{Gateway: true}, own})
	}
	p.Foreign = nil
	return p, near
}

// resource gives a translated value its version, that of the model it was made from.
func resource(e envoy.Resource, from any) xds.Resource {
	body, err := e.Body()
	if err != nil {
		panic(err) // a bug in the translation; the engine keeps the last good value and reports the key
	}
	r := xds.Resource{Key: xds.Key{TypeURL: e.TypeURL, Name: e.Name}, Version: model.Hash(e.Revision(from), from), Body: body}
	for _, ref := range e.Refs {
		if ref.TypeURL == envoy.RoutesType && names.IsGatewayTable(ref.Name) {
			continue // the agent makes it, of parts that are subscribed to on their own account
		}
		r.Needs = append(r.Needs, xds.Key{TypeURL: ref.TypeURL, Name: ref.Name})
	}
	if e.TypeURL == envoy.ClusterType {
		r.Companion = xds.Key{TypeURL: envoy.EndpointsType, Name: e.Name}
	}
	return r
}

func sameVersion(a, b xds.Resource) bool {
	return a.Key == b.Key && a.Version == b.Version && slices.EqualFunc(a.Variants, b.Variants, func(a, b xds.Variant) bool {
		return a.Place == b.Place && a.Version == b.Version
	})
}
