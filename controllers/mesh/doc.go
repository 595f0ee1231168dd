// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package mesh reconciles Mesh: it looks at the cluster, asks
// internal/lifecycle/plan what to do and say, does it and says it.
//
// It decides nothing itself. Invariant: every round begins from what is in the
// cluster and not from an earlier round, so that the operator can be killed at
// any time: what it remembers is when it asked last, and since when it has seen. Start at Reconciler.Reconcile; observe.go lists all that is looked at,
// ground.go what is asked before an upgrade only, gateways.go which Deployments belong to Gateways, events.go which Events are written, metrics.go all that is measured.
package mesh
