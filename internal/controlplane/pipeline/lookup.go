// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"time"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
	"tulle.dev/tulle/internal/names"
)

// lookup is gatewayapi.Lookup and policy.Lookup over a recording reader: what a translation reads, it depends on.
type lookup struct {
	r  *incr.Reader
	in inputs
	ix indexes
	ms *mesh
	pl *policies
	sv *services
	gw *gateways
}

func (l lookup) Service(k model.Key) (model.Service, bool) { return incr.Get(l.r, l.in.services, k) }

func (l lookup) Namespace(n string) (model.Namespace, bool) {
	return incr.Get(l.r, l.in.namespaces, n)
}

func (l lookup) Fronted(service model.Key) bool {
	_, ok := incr.Get(l.r, l.sv.fronted, service)
	return ok
}

func (l lookup) TLSSecret(k model.Key) (problem string, found bool) {
	s, ok := incr.Get(l.r, l.in.secrets, k)
	if !ok {
		return "", false
	}
	return s.Problem, true
}

func (l lookup) Ended(k model.Key) (day string, ended bool) {
	s, ok := incr.Get(l.r, l.in.secrets, k)
	if !ok || s.Ends.IsZero() {
		return "", false
	}
	now, _ := incr.Get(l.r, l.in.clock, one{})
	return s.Ends.Format(time.DateOnly), now.After(s.Ends)
}

func (l lookup) IssuerEnded(k model.Key) (day string, ended bool) {
	s, ok := incr.Get(l.r, l.in.secrets, k)
	if !ok || s.IssuersEnd.IsZero() {
		return "", false
	}
	now, _ := incr.Get(l.r, l.in.clock, one{})
	return s.IssuersEnd.Format(time.DateOnly), now.After(s.IssuersEnd)
}

func (l lookup) Granted(from gatewayapi.GrantFrom) gatewayapi.Granted {
	v, _ := incr.Get(l.r, l.pl.granted, from)
	return v
}

func (l lookup) Gateway(k model.Key) (*gwapiv1.Gateway, bool) {
	return incr.Get(l.r, l.in.gateways, k)
}

func (l lookup) Listeners(gateway model.Key) gatewayapi.Listeners {
	ls, _ := incr.Get(l.r, l.gw.read, gateway)
	return ls
}

func (l lookup) Served(gateway model.Key) gatewayapi.Served {
	s, _ := incr.Get(l.r, l.gw.served, gateway)
	return s
}

func (l lookup) ListenerSets(gateway model.Key) []*gwapiv1.ListenerSet {
	return bucket(l.r, l.ix.setsByGateway, gateway)
}

func (l lookup) ListenerSet(k model.Key) (*gwapiv1.ListenerSet, bool) {
	return incr.Get(l.r, l.in.listenerSets, k)
}

func (l lookup) OurClass(name string) bool {
	c, ok := incr.Get(l.r, l.in.classes, name)
	if !ok {
		// The operator creates its own class again; meanwhile nothing that it served ends.
		return name == names.GatewayClass
	}
	return string(c.Spec.ControllerName) == names.ControllerName
}

func (l lookup) Routes(on ofObject) []*gatewayapi.Route { return bucket(l.r, l.ix.routesByService, on) }

func (l lookup) Senders(to ofPort) []*gatewayapi.Route { return bucket(l.r, l.ix.routesByBackend, to) }

func (l lookup) Attached(on gatewayapi.On) int { return incr.Count(l.r, l.gw.attached, on) }

func (l lookup) Candidates(on ofObject) []*gatewayapi.Candidate {
	return bucket(l.r, l.gw.candidates, on)
}

func (l lookup) Precedence(parent, route model.Object) gatewayapi.Precedence {
	s, _ := incr.Get(l.r, l.gw.precedence, onParent{parent, route})
	return s
}

func (l lookup) Takers(on gatewayapi.On) (out []gatewayapi.Taker) {
	incr.Lookup(l.r, l.gw.takers, on, func(k onParent, s gatewayapi.Precedence) {
		if route, ok := incr.Get(l.r, l.in.routes, k.route); ok {
			out = append(out, gatewayapi.Taker{Route: route, Precedence: s})
		}
	})
	return out
}

func (l lookup) SentTo(to ofPort) bool {
	own, _ := incr.Get(l.r, l.ms.sent, to)
	return own
}

func (l lookup) MeshRoutes(service model.Key) gatewayapi.MeshRoutes {
	v, _ := incr.Get(l.r, l.ms.routes, service)
	return v
}

func (l lookup) MeshRivals(service model.Key, route model.Object) []gatewayapi.MeshRival {
	v, _ := incr.Get(l.r, l.ms.rivals, routeOn{service, route})
	return v
}

func (l lookup) MeshSharing(service model.Key) map[uint16][]string {
	v, _ := incr.Get(l.r, l.ms.sharing, service)
	return v
}

func (l lookup) MeshPart(r *gatewayapi.Route) *gatewayapi.MeshPart {
	p, _ := incr.Get(l.r, l.ms.parts, r.ID())
	return p
}

func (l lookup) Protocol(port model.PortKey) (model.Protocol, bool) {
	return incr.Get(l.r, l.sv.protocols, port)
}

func (l lookup) ExcessRoutes(service model.Key) map[model.Object]bool {
	v, _ := incr.Get(l.r, l.sv.excess, service)
	return v
}

func (l lookup) ExcessExpressions(gateway model.Key, route model.Object) bool {
	_, excess := incr.Get(l.r, l.gw.excess, routeAt{gateway, route})
	return excess
}

func (l lookup) CABundle(k model.Key) (problem string, found bool) {
	b, ok := incr.Get(l.r, l.in.bundles, k)
	return b.Problem, ok
}

func (l lookup) Policies(on ofObject) []*policy.Policy { return bucket(l.r, l.ix.policiesByTarget, on) }

func (l lookup) First(kind string, t policy.Target) *policy.Policy {
	p, _ := incr.Get(l.r, l.pl.first, policyOn{kind, t})
	return p
}

func (l lookup) SendingGateways(service model.Key) []model.Key {
	gws, _ := incr.Get(l.r, l.pl.senders, service)
	return gws
}

func (l lookup) BackendTLS(service model.Key, port string) bool {
	return policy.HasBackendTLS(l, service, port)
}

func bucket[B, K comparable, V any](r *incr.Reader, x *incr.Index[B, K, V], b B) []V {
	var out []V
	incr.Lookup(r, x, b, func(_ K, v V) { out = append(out, v) })
	return out
}
