// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ports

import (
	"net/netip"
	"slices"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
)

// World is what is asked: Services, what is behind them, and the routes that say what their ports speak.
// The order of its lists does not matter. The zero value has nothing.
type World struct {
	Services []model.Service
	Slices   []model.Slice
	// Pods are those that carry a proxy.
	Pods []model.Workload

	Routes   []*gatewayapi.Route
	Policies []*policy.Policy
}

// view is a World that is looked up in. It answers what gatewayapi asks of it to tell a port's protocol;
// the rest of the interface is not asked.
type view struct {
	gatewayapi.Lookup
	services map[model.Key]model.Service
	slices   map[model.Key][]model.Slice // by Service
	pods     map[model.Key]model.Workload
	// byAddress are the pods that have not ended.
	byAddress map[netip.Addr]model.Workload
	parents   map[gatewayapi.OfKind[model.Object]][]*gatewayapi.Route
	senders   map[gatewayapi.OfKind[model.PortKey]][]*gatewayapi.Route
	policies  map[gatewayapi.OfKind[model.Object]][]*policy.Policy
	mesh      map[model.Key]gatewayapi.MeshRoutes // as far as it was asked for
}

func viewOf(w World) *view {
	v := &view{
		services: map[model.Key]model.Service{}, slices: map[model.Key][]model.Slice{}, pods: map[model.Key]model.Workload{},
		byAddress: map[netip.Addr]model.Workload{},
		parents:   map[gatewayapi.OfKind[model.Object]][]*gatewayapi.Route{}, senders: map[gatewayapi.OfKind[model.PortKey]][]*gatewayapi.Route{},
		policies: map[gatewayapi.OfKind[model.Object]][]*policy.Policy{}, mesh: map[model.Key]gatewayapi.MeshRoutes{},
	}
	for _, s := range w.Services {
		v.services[s.Key] = s
	}
	for _, s := range w.Slices {
		v.slices[s.Service] = append(v.slices[s.Service], s)
	}
	for _, p := range w.Pods {
		v.pods[p.Key] = p
		if p.Ended || p.HostNetwork {
			continue
		}
		for _, a := range p.Addresses {
			v.byAddress[a] = p
		}
	}
	for _, r := range w.Routes {
		for _, on := range r.Parents() {
			v.parents[on] = append(v.parents[on], r)
		}
		for _, to := range r.Backends() {
			v.senders[to] = append(v.senders[to], r)
		}
	}
	for _, p := range w.Policies {
		for _, on := range p.Targets() {
			v.policies[on] = append(v.policies[on], p)
		}
	}
	return v
}

func (v *view) Service(k model.Key) (model.Service, bool) {
	s, ok := v.services[k]
	return s, ok
}

// Fronted is true: only ports with meshed pods behind them are reported, and those have listeners.
func (v *view) Fronted(model.Key) bool { return true }

// Namespace knows none: whether a port has meshed pods behind it is told by the pods.
func (v *view) Namespace(string) (model.Namespace, bool) { return model.Namespace{}, false }

func (v *view) Granted(gatewayapi.GrantFrom) gatewayapi.Granted { return gatewayapi.Granted{} }

func (v *view) ExcessRoutes(service model.Key) map[model.Object]bool {
	return gatewayapi.ReadExcessRoutes(v, service)
}

func (v *view) Routes(on gatewayapi.OfKind[model.Object]) []*gatewayapi.Route {
	return slices.Clone(v.parents[on])
}

func (v *view) Senders(to gatewayapi.OfKind[model.PortKey]) []*gatewayapi.Route { return v.senders[to] }

func (v *view) SentTo(to gatewayapi.OfKind[model.PortKey]) bool {
	return gatewayapi.ReadSentTo(v, to)
}

func (v *view) MeshRoutes(service model.Key) gatewayapi.MeshRoutes {
	m, ok := v.mesh[service]
	if !ok {
		m = gatewayapi.ReadMeshRoutes(v, service)
		v.mesh[service] = m
	}
	return m
}

func (v *view) Policies(on gatewayapi.OfKind[model.Object]) []*policy.Policy { return v.policies[on] }

func (v *view) First(kind string, t policy.Target) *policy.Policy {
	return policy.ReadFirst(v, gatewayapi.OfKind[model.Object]{Kind: kind, To: t.Object})[t.Section]
}

// SendingGateways is empty: only the status of policies needs it.
func (v *view) SendingGateways(model.Key) []model.Key { return nil }

func (v *view) BackendTLS(service model.Key, port string) bool {
	return policy.HasBackendTLS(v, service, port)
}

// resolved are the TCP ports of a Service with the meshed pods behind them.
func (v *view) resolved(k model.Key) []model.ResolvedPort {
	s, ok := v.services[k]
	if !ok {
		return nil
	}
	r := model.Resolve(s, v.slices[k], model.MaxPairs, func(p model.Key) (model.Workload, bool) {
		w, ok := v.pods[p]
		return w, ok && !w.Ended
	}, func(a netip.Addr) (model.Workload, bool) {
		w, ok := v.byAddress[a]
		return w, ok
	}, nil)
	return slices.DeleteFunc(r.Ports, func(p model.ResolvedPort) bool { return len(p.Members) == 0 })
}
