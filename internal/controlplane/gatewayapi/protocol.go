// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"slices"

	"tulle.dev/tulle/internal/controlplane/model"
)

// PortProtocol is what a Service port speaks: what the Service declares, else what the routes of its
// own namespace say that are attached to the port or, without a BackendTLSPolicy, send to it (GRPC
// before HTTP), else TCP. Routes of other namespaces have no say, lest one namespace change how all
// others reach a Service. ok is false where there is no such port.
func PortProtocol(l Lookup, port model.PortKey) (p model.Protocol, ok bool) {
	svc, ok := l.Service(port.Service)
	if !ok {
		return "", false
	}
	sp, ok := portOf(svc, port.Port)
	if !ok {
		return "", false
	}
	if sp.Declared || sp.Protocol != model.TCP {
		return sp.Protocol, true
	}
	http, grpc := sentTo(l, port)
	if hasBackendTLS(l, svc.Key, sp) {
		// Its endpoints speak TLS, and so may its clients. What Gateways send to it is no word about these.
		http, grpc = false, false
	}
	attached := l.MeshRoutes(svc.Key).of(sp.Port, svc.Namespace)
	switch {
	case grpc || len(attached) > 0 && attached[0].protocol == model.GRPC:
		return model.GRPC, true
	case http || len(attached) > 0 && attached[0].protocol == model.HTTP:
		return model.HTTP, true
	}
	return model.TCP, true
}

// ServedProtocol is what a server's proxy takes a Service port to speak where a connection does not say it:
// PortProtocol, unless a route that is attached to the port in the Service's own namespace says otherwise and
// appProtocol does not decide. ok is false where there is no such port.
func ServedProtocol(l Lookup, port model.PortKey) (p model.Protocol, ok bool) {
	svc, _ := l.Service(port.Service)
	sp, ok := portOf(svc, port.Port)
	if !ok || sp.Protocol == model.UDP {
		return sp.Protocol, ok
	}
	own, ok := l.Protocol(port)
	if !ok || sp.Fixed {
		return own, ok
	}
	attached := l.MeshRoutes(svc.Key).of(sp.Port, svc.Namespace)
	switch {
	case len(attached) == 0:
	case attached[0].IsOpaque():
		return model.TCP, true
	case !own.IsHTTP():
		return attached[0].protocol, true
	}
	return own, true
}

// sentTo reports whether routes for HTTP and routes for gRPC of the Service's own namespace send to one of its ports.
func sentTo(l Lookup, port model.PortKey) (http, grpc bool) {
	for _, k := range RouteKinds() {
		if k.IsOpaque() {
			continue
		}
		if l.SentTo(OfKind[model.PortKey]{k.Name, port}) {
			http, grpc = http || k.protocol == model.HTTP, grpc || k.protocol == model.GRPC
		}
	}
	return http, grpc
}

// ReadSentTo reports whether a route of a kind and of the Service's own namespace sends to one of its ports.
func ReadSentTo(l Lookup, to OfKind[model.PortKey]) bool {
	return slices.ContainsFunc(l.Senders(to), func(r *Route) bool { return r.source.Namespace == to.To.Service.Namespace })
}

// ProtocolInTLS is what is spoken inside TLS that a proxy begins. A port that is declared as TLS says
// nothing of that: the routes that send to it do.
func ProtocolInTLS(l Lookup, port model.PortKey, sp model.ServicePort) model.Protocol {
	if sp.Protocol.IsHTTP() {
		return sp.Protocol
	}
	if _, grpc := sentTo(l, port); grpc {
		return model.GRPC
	}
	return model.HTTP
}
