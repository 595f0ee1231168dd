// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"bytes"
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/policy"
)

// output is everything that is made for proxies.
type output struct {
	Frontends []frontend
	Gateways  []gatewayPort
	Backends  []backendTLS
}

// backendTLS is how TLS is spoken with a Service port.
type backendTLS struct {
	Port     string
	Protocol model.Protocol
	TLS      *model.BackendTLS
}

type routeStatus struct {
	Route   string
	Parents []gatewayapi.RouteParent
}

type gatewayStatus struct {
	Gateway string
	gatewayapi.GatewayVerdict
}

type listenerSetStatus struct {
	ListenerSet string
	gatewayapi.ListenerSetVerdict
}

// verdicts is everything that is told to users.
type verdicts struct {
	Routes   []routeStatus
	Gateways []gatewayStatus
	Sets     []listenerSetStatus `json:",omitempty"`
	Policies []policyStatus
}

type policyStatus struct {
	Policy    string
	Ancestors []gwapiv1.PolicyAncestorStatus
}

// evaluate calls every function of the package for every key. Its order is that of names.
func (w *world) evaluate() (out output, told verdicts) {
	for _, s := range sorted(w.services, func(s model.Service) string { return s.Key.String() }) {
		for _, p := range s.Ports {
			k := model.PortKey{Service: s.Key, Port: p.Port}
			if tls, proto := policy.BackendTLS(w, k); tls != nil {
				out.Backends = append(out.Backends, backendTLS{k.String(), proto, tls})
			}
		}
		if ns, known := w.Namespace(s.Namespace); known && !ns.Meshed {
			continue // no proxy is told of Services elsewhere
		}
		for _, consumer := range append([]string{""}, gatewayapi.MeshConsumers(w, s.Key)...) {
			for _, p := range s.Ports {
				k := model.PortKey{Service: s.Key, Port: p.Port}
				if t, proto, ok := gatewayapi.MeshTable(w, k, consumer); ok && p.Protocol != model.UDP {
					f := frontend{k.String(), proto, consumer, t, nil}
					if s, ok := gatewayapi.MeshStreams(w, k, consumer); ok {
						f.Streams = &s
					}
					out.Frontends = append(out.Frontends, f)
				}
			}
		}
	}
	for _, g := range sorted(w.gateways, func(g *gwapiv1.Gateway) string { return g.Namespace + "/" + g.Name }) {
		k := model.Key{Namespace: g.Namespace, Name: g.Name}
		for _, n := range gatewayapi.GatewayPortNumbers(w, k) {
			if p, ok := gatewayapi.GatewayPort(w, k, n); ok {
				gp := gatewayPort{GatewayPort: p}
				for _, s := range p.Sections {
					if s.Bytes {
						gp.Streams = append(gp.Streams, w.streams(p, s))
						continue
					}
					t, _ := w.table(k, n, s.Name)
					gp.Tables = append(gp.Tables, t)
				}
				out.Gateways = append(out.Gateways, gp)
			}
		}
		for _, n := range gatewayapi.GatewayUDPPortNumbers(w, k) {
			if p, ok := gatewayapi.GatewayUDPPort(w, k, n); ok {
				out.Gateways = append(out.Gateways, gatewayPort{GatewayPort: p, Streams: []model.StreamTable{w.streams(p, p.Sections[0])}})
			}
		}
		if v, ok := gatewayapi.GatewayStatus(w, k); ok {
			told.Gateways = append(told.Gateways, gatewayStatus{k.String(), v})
		}
	}
	for _, s := range sorted(w.sets, func(s *gwapiv1.ListenerSet) string { return s.Namespace + "/" + s.Name }) {
		if v, ok := gatewayapi.ListenerSetStatus(w, s); ok {
			told.Sets = append(told.Sets, listenerSetStatus{s.Namespace + "/" + s.Name, v})
		}
	}
	for _, k := range gatewayapi.RouteKinds() {
		for _, r := range sorted(w.of(k.Name), routeName) {
			told.Routes = append(told.Routes, routeStatus{k.Name + "/" + routeName(r), gatewayapi.RouteParents(w, r)})
		}
	}
	for _, p := range sorted(w.policies, policyName) {
		told.Policies = append(told.Policies, policyStatus{policyName(p), policy.Ancestors(w, p)})
	}
	return out, told
}

func (w *world) streams(p model.GatewayPort, s model.GatewaySection) model.StreamTable {
	t, _ := gatewayapi.GatewayStreams(w, p, s.Name)
	return t
}

func policyName(p *policy.Policy) string { return p.ID().Namespace + "/" + p.ID().Name }

func routeName(r *gatewayapi.Route) string { return r.ID().Namespace + "/" + r.ID().Name }

func sorted[T any](in []T, name func(T) string) []T {
	out := slices.Clone(in)
	slices.SortStableFunc(out, func(a, b T) int { return bytes.Compare([]byte(name(a)), []byte(name(b))) })
	return out
}
