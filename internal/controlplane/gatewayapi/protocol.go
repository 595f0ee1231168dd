// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
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
	used := l.Used(port)
	if hasBackendTLS(l, svc.Key, sp) {
		// Its endpoints speak TLS, and so may its clients. What Gateways send to it is no word about these.
		used = RouteKinds{}
	}
	attached := effective(l, svc, sp, svc.Namespace)
	switch {
	case used.GRPC || len(attached) > 0 && attached[0].source.Kind == KindGRPCRoute:
		return model.GRPC, true
	case used.HTTP || len(attached) > 0 && attached[0].source.Kind == KindHTTPRoute:
		return model.HTTP, true
	}
	return model.TCP, true
}

// ServedProtocol is what a server's proxy takes a Service port to speak where a connection does not say it:
// PortProtocol, unless a route that is attached to the port in the Service's own namespace says otherwise and
// appProtocol does not decide. ok is false where there is no such port.
func ServedProtocol(l Lookup, port model.PortKey) (p model.Protocol, ok bool) {
	own, ok := PortProtocol(l, port)
	if !ok {
		return "", false
	}
	svc, _ := l.Service(port.Service)
	sp, _ := portOf(svc, port.Port)
	if sp.Fixed || sp.Protocol == model.UDP {
		return own, true
	}
	attached := effective(l, svc, sp, svc.Namespace)
	switch {
	case len(attached) == 0:
	case attached[0].bytes():
		return model.TCP, true
	case !own.IsHTTP():
		return protocolOfKind(attached[0].source.Kind), true
	}
	return own, true
}

// SpokenAs is how the backend of a route of that kind is spoken to (names.Out.As) where a port's own
// protocol, PortProtocol, is another than the route needs: a GRPCRoute needs HTTP/2, and an HTTPRoute
// HTTP/1.1 unless the port itself says HTTP/2. "" is by the port's own protocol.
func SpokenAs(kind string, p model.ServicePort, own model.Protocol) string {
	switch {
	case kind == KindGRPCRoute && own != model.GRPC && own != model.HTTP2:
		return names.AsHTTP2
	case kind == KindHTTPRoute && own != model.HTTP && !p.Protocol.IsHTTP():
		return names.AsHTTP1
	}
	return ""
}
