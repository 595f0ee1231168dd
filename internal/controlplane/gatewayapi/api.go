// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// Parents returns the Services and Gateways that parentRefs name, each once, sorted.
func Parents(namespace string, refs []gwapiv1.ParentReference) []model.Object { return nil }

// HTTPRouteBackends and GRPCRouteBackends return the Service ports a route sends to or mirrors to.
func HTTPRouteBackends(r *gwapiv1.HTTPRoute) []model.PortKey { return nil }
func GRPCRouteBackends(r *gwapiv1.GRPCRoute) []model.PortKey { return nil }

// PortProtocol is what a Service port speaks after routes of the Service's namespace had their say.
func PortProtocol(l Lookup, port model.PortKey) (model.Protocol, bool) { return "", false }

// MeshTable is the table of a Service port for clients of the namespace consumer, or for all others where it is empty.
func MeshTable(l Lookup, port model.PortKey, consumer string) (table *model.RouteTable, proto model.Protocol, ok bool) {
	return nil, "", false
}

// ForNode is a table of a Service with internalTrafficPolicy Local for clients on one node.
func ForNode(t model.RouteTable, port model.PortKey, node string) model.RouteTable { return t }

// MeshConsumers are the namespaces whose routes replace the producer's for their own clients, sorted.
func MeshConsumers(l Lookup, service model.Key) []string { return nil }

// HTTPRouteParents and GRPCRouteParents are the status of a route on those of its parents that are ours.
func HTTPRouteParents(l Lookup, r *gwapiv1.HTTPRoute) []RouteParent { return nil }
func GRPCRouteParents(l Lookup, r *gwapiv1.GRPCRoute) []RouteParent { return nil }

// GatewayPortNumbers are the ports a Gateway of ours serves, ascending; none where it is not ours or not accepted.
func GatewayPortNumbers(l Lookup, gateway model.Key) []uint16 { return nil }

// GatewayPort is one port of a Gateway; it reads no routes.
func GatewayPort(l Lookup, gateway model.Key, port uint16) (model.GatewayPort, bool) {
	return model.GatewayPort{}, false
}

// GatewayTable is one table of a Gateway: section is the GatewaySection's Name, empty on plain ports.
func GatewayTable(l Lookup, gateway model.Key, port uint16, section string) (model.RouteTable, bool) {
	return model.RouteTable{}, false
}

// GatewayStatus is the verdict on a Gateway of ours; false where it is not.
func GatewayStatus(l Lookup, gateway model.Key) (GatewayVerdict, bool) { return GatewayVerdict{}, false }
