// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// Kinds of routes in model.Object.
const (
	KindHTTPRoute = "HTTPRoute"
	KindGRPCRoute = "GRPCRoute"
	KindTLSRoute  = "TLSRoute"
	KindTCPRoute  = "TCPRoute"
	KindUDPRoute  = "UDPRoute"
)

// RouteKind is what distinguishes one kind of routes from the others, apart from what its rules say.
type RouteKind struct {
	Name string
	traits
	// fits reports whether listeners of a protocol carry the routes; passthrough: TLS is not terminated there.
	// listeners are these protocols, for messages.
	fits      func(p gwapiv1.ProtocolType, passthrough bool) bool
	listeners string
	// parse reads an object of the kind.
	parse func(object any) *Route
}

// traits are what other code may know of a route's kind.
type traits struct {
	// protocol is what the routes match: HTTP or gRPC requests, TCP connections or UDP datagrams.
	protocol model.Protocol
	// byServerName: connections are matched by their TLS server name. Otherwise a route takes all of a port.
	byServerName bool
	// precedence is the order in which kinds take precedence on a Service port, from 1; 0: a Service cannot be the
	// parent (GEP-1294: of several kinds on the same port the more specific decides alone).
	precedence int
}

// RouteKinds are all kinds of routes, in the order in which messages list them.
func RouteKinds() []RouteKind {
	return []RouteKind{
		{
			Name: KindHTTPRoute, traits: traits{protocol: model.HTTP, precedence: 2},
			fits: carriesHTTP, listeners: "HTTP or HTTPS", parse: as(fromHTTP),
		},
		{
			Name: KindGRPCRoute, traits: traits{protocol: model.GRPC, precedence: 1},
			fits: carriesHTTP, listeners: "HTTP or HTTPS", parse: as(fromGRPC),
		},
		{
			Name: KindTLSRoute, traits: traits{protocol: model.TCP, byServerName: true, precedence: 3},
			fits:      func(p gwapiv1.ProtocolType, _ bool) bool { return p == gwapiv1.TLSProtocolType },
			listeners: "TLS",
			parse: as(func(t *gwapiv1.TLSRoute) *Route {
				return l4Route(&t.ObjectMeta, &t.Spec.CommonRouteSpec, t.Spec.Hostnames, t.Spec.Rules, func(u gwapiv1.TLSRouteRule) l4Rule { return l4Rule{u.Name, u.BackendRefs} })
			}),
		},
		{
			Name: KindTCPRoute, traits: traits{protocol: model.TCP, precedence: 4},
			// TLSRoute: to forward all connections of a TLS listener to a single target, a TCPRoute will do.
			fits: func(p gwapiv1.ProtocolType, passthrough bool) bool {
				return p == gwapiv1.TCPProtocolType || p == gwapiv1.TLSProtocolType && !passthrough
			},
			listeners: "TCP, or TLS with mode Terminate",
			parse: as(func(t *gwapiv1.TCPRoute) *Route {
				return l4Route(&t.ObjectMeta, &t.Spec.CommonRouteSpec, nil, t.Spec.Rules, func(u gwapiv1.TCPRouteRule) l4Rule { return l4Rule{u.Name, u.BackendRefs} })
			}),
		},
		{
			Name: KindUDPRoute, traits: traits{protocol: model.UDP},
			fits:      func(p gwapiv1.ProtocolType, _ bool) bool { return p == gwapiv1.UDPProtocolType },
			listeners: "UDP",
			parse: as(func(t *gwapiv1.UDPRoute) *Route {
				return l4Route(&t.ObjectMeta, &t.Spec.CommonRouteSpec, nil, t.Spec.Rules, func(u gwapiv1.UDPRouteRule) l4Rule { return l4Rule{u.Name, u.BackendRefs} })
			}),
		},
	}
}

func carriesHTTP(p gwapiv1.ProtocolType, _ bool) bool {
	return p == gwapiv1.HTTPProtocolType || p == gwapiv1.HTTPSProtocolType
}

// as adapts a function that reads objects of one type.
func as[T any](from func(T) *Route) func(any) *Route {
	return func(o any) *Route { return from(o.(T)) }
}

// RouteKindOf returns the kind of routes of that name.
func RouteKindOf(name string) (RouteKind, bool) {
	all := RouteKinds()
	i := slices.IndexFunc(all, func(k RouteKind) bool { return k.Name == name })
	if i < 0 {
		return RouteKind{}, false
	}
	return all[i], true
}

// MeshKinds are the kinds of routes that a Service can be the parent of.
func MeshKinds() []RouteKind {
	return slices.DeleteFunc(RouteKinds(), func(k RouteKind) bool { return k.precedence == 0 })
}

// Parse reads an object of the kind, which must not change afterwards.
func (k RouteKind) Parse(object any) *Route {
	r := k.parse(object)
	r.source.Kind, r.traits = k.Name, k.traits
	r.size = r.measure()
	return r
}

// IsOpaque reports whether routes of the kind pass bytes on without looking for HTTP in them.
func (t traits) IsOpaque() bool { return !t.protocol.IsHTTP() }

// IsUDP reports whether routes of the kind pass datagrams on.
func (t traits) IsUDP() bool { return t.protocol == model.UDP }

// SpokenAs is how a backend of a route of the kind is spoken to (names.Out.As); "" is by the port's own protocol,
// which is own (PortProtocol). An opaque route speaks bytes unless the port says that it speaks nothing else: what
// other routes make of the port does not matter. A route for gRPC needs HTTP/2, and one for HTTP speaks HTTP/1.1
// unless the port itself says HTTP/2.
func (t traits) SpokenAs(p model.ServicePort, own model.Protocol) string {
	switch {
	case t.IsUDP():
		return names.AsDatagrams
	case t.IsOpaque():
		if !onlyBytes(p) {
			return names.AsBytes
		}
	case t.protocol == model.GRPC && own != model.GRPC && own != model.HTTP2:
		return names.AsHTTP2
	case t.protocol == model.HTTP && own != model.HTTP && !p.Protocol.IsHTTP():
		return names.AsHTTP1
	}
	return ""
}

// onlyBytes reports whether a TCP port is declared to speak what no route looks into.
func onlyBytes(p model.ServicePort) bool { return p.Declared && p.Protocol == model.TCP }
