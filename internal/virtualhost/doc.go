// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package virtualhost puts together the virtual hosts of one table of a Gateway: a port for HTTP, or an
// HTTPS listener.
//
//	Table (the listeners) ─┐
//	Part (a route)  ───────┼─ Compose ─> []Host
//	Part (a route)  ───────┘
//
// The control plane makes the parts, each of one route alone, and agents put them together: so a change of
// one of many routes costs one translation, and nothing but that route goes over the wire. What a rule is,
// nobody here knows: the model's in the tests of the control plane, bytes for Envoy in the agent.
//
// Invariant: the result depends on the parts, not on their order.
package virtualhost
