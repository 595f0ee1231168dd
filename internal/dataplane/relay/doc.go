// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package relay stands between the control plane and the Envoy of one slot:
// a delta ADS client upwards, a delta ADS server downwards, and the last good
// configuration in between.
//
//	control plane --(names it asked for)--> Core <--(wildcard CDS, LDS; names)-- Envoy
//	                     ACK only after Envoy's ACK, NACK in Envoy's words
//
// Which clusters and listeners to ask for is in the proxy's scope
// (protocol.Scope), which the relay reads and acknowledges itself; routes,
// endpoints and secrets are asked for as Envoy asks. Resources pass through as
// the bytes they came as. The secret names.Identity is the agent's own, and so
// are the routes of a Gateway: they are put together here of what each of its
// HTTPRoutes and GRPCRoutes has in them (assembly.go, protocol.RoutePart).
//
// Core is a state machine without I/O, clock or locks: events in, messages
// out, every decision from levels (what upstream said, what Envoy has), never
// from the order of events alone. Loop owns it and does the talking.
//
// Invariants: a resource that Envoy refused never replaces one that it took,
// and costs no other resource its way; losing either side loses nothing that
// was good; one response per type is unanswered at a time, on both sides.
//
// Start reading at core.go, then envoy.go and upstream.go.
package relay
