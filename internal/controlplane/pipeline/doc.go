// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package pipeline wires the control plane's data flow: which collection is
// made of which, by which pure function. Read graph.go first; it is the map
// of this half of the house.
//
//	inputs ──> resolved ──> endpoints, backends, peers ─┐
//	   │           └──> targets ──> inbound, pods ──────┤
//	   ├──> frontends + tables <── gatewayapi ──────────┼──> resources ──> xds
//	   ├──> precedence of routes <── gatewayapi
//	   ├──> gateway ports, route parts <── gatewayapi ──┤
//	   ├──> clients (what gRPC clients ask for) ────────┤
//	   ├──> destinations (what proxies connect to) ─────┤
//	   └──> scopes ─────────────────────────────────────┘
//	   └──> verdicts, requirements ──> status
//
// It decides nothing about meaning: grouping and wiring only. Everything runs
// on one goroutine, in Graph.Apply. Invariant: the result depends on the
// inputs alone, never on their history, but for which destinations have a
// place while there are too few places (dialled.go).
package pipeline
