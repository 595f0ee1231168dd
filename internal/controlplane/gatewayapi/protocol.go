// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
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
