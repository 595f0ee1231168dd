// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package probes answers the application's probes and lifecycle hooks, which
// injection moved from the application to the agent: the kubelet asks the
// agent, the agent asks the application, in the same way and with the same
// timeout as the kubelet would have.
//
// It knows the application's ports and nothing of Envoy. Invariant: exactly
// the paths that were recorded at injection are answered, and nothing in a
// request but its User-Agent reaches the application: the agent's port must
// not become a way round the proxy. The paths contain a random token
// (protocol.ProbePath), so that only a client that can read the pod knows them.
//
// Start reading at handler.go; flight.go lets each probe run once at a time.
package probes
