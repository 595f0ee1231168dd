// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package envoy runs the Envoy of a slot: its bootstrap, its process, its
// readiness and its end.
//
//	Bootstrap (pure) -> bootstrap.json -> Process: start, adopt, restart
//	Admin (unix socket) -> statistics -> Ready, Activity, Sample (of package tally)
//
// It knows nothing of what Envoy is configured with beyond the names in
// package names; that comes over the relay's socket.
//
// Invariant: an Envoy outlives the agent. An agent that starts and finds one
// running in its slot adopts it, so that an agent's crash costs no connection.
//
// Start reading at process.go.
package envoy
