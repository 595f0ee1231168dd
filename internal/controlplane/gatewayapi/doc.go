// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package gatewayapi turns Gateway API objects into the model and into verdicts.
//
//	object of a RouteKind --Parse, once--> Route --resolve with a Lookup--> model.RouteTable, or
//	                                                   model.StreamTable for routes of bytes
//	                                             \-> RouteParent (Accepted, ResolvedRefs, PartiallyInvalid)
//	Gateway -> listeners -> model.GatewayPort, GatewayVerdict
//
// There is one function per output: a table of a Service port (MeshTable), what a route has in the
// tables of Gateways (RouteParts, which agents put together by GatewayTable), the conflicts between the routes of a
// Gateway (ReadPrecedence), the streams of either (MeshStreams, GatewayStreams), the status of one
// route (RouteParents), of one Gateway (GatewayStatus). Each reads the cluster only
// through its Lookup, so that the caller can record what it read and evaluate again only what a change
// concerns.
//
// A user's mistake is a verdict and harms nothing but the route, rule or listener it is in. Rules
// that can't be carried out answer 500 rather than fall through to others ("Dropped Rule").
// It must not know: clients, clocks, Envoy. Invariants: the result depends neither on the order in
// which a Lookup returns objects nor on status or resourceVersion of the objects; no input panics.
//
// Start reading at mesh.go (routes on Services) or gateway.go (Gateways, whose status is in
// gatewaystatus.go and whose listeners may come from ListenerSets); routekind.go has
// a row for each kind of routes, route.go the form that all share, stream.go is about routes of bytes.
package gatewayapi
