// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package envoy translates the model into Envoy v3 resources, one at a time:
//
//	model.Frontend     -> Listener             out/NS/SVC/PORT      listener.go
//	model.PodFrontend  -> Listener             pod/NS/POD/PORT      listener.go
//	model.RouteTable   -> RouteConfiguration   out/..., gw/...      route.go, match.go, action.go
//	model.Backend      -> Cluster              out/..., direct/...  cluster.go
//	model.Endpoints    -> ClusterLoadAssignment                     endpoints.go
//	model.Inbound      -> Listener             in/NS/POD            inbound.go
//	model.GatewayPort  -> Listener             gw/NS/NAME/PORT      gateway.go, udp.go
//	model.Stream       -> chains of a Listener                      stream.go, tcp.go
//	model.Peers, ...   -> Secret               san/..., tls/...     secret.go
//	model.Scope        -> protocol.Scope       scope/...            scope.go
//	model.Destination  -> Cluster              to/ADDRESS:PORT      destination.go
//	model.Client...    -> all of these for gRPC: target/..., client/...  client.go, client_route.go
//	(constant)         -> std/*                                     common.go
//
// It owns what Envoy is told and why: limits, timeouts, the order of HTTP
// filters (filters.go). It must not know Kubernetes, clients, time or the rest
// of the mesh: every function is pure and reads its argument alone, so that a
// resource depends on exactly the model it was made from.
//
// Invariant: whatever the model says, Resource.Validate succeeds for what the
// functions return, and Envoy accepts it; what can't be expressed is answered
// with an error status for the requests it concerns, never left out silently.
//
// Start reading at resource.go, then hcm.go and route.go.
package envoy
