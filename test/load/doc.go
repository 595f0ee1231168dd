// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package load sends a bounded number of requests and says what became of
// each: how many per status, version and caller, which failures with which
// reason, how long they took, and the longest time without any success.
//
// It knows protocols (HTTP/1.1, h2c, gRPC, TCP), not the mesh. Invariant:
// every request that was sent is counted exactly once, as a success or as a
// failure with a reason; a run ends by itself.
//
// Start reading at Run.
package load
