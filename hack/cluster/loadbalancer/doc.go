// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package loadbalancer gives Services of type LoadBalancer their addresses.
//
// In a cloud a controller does that; here the addresses come from a pool that
// the host routes to the node, where kube-proxy translates them as it does
// cluster IPs. The package owns the choice of addresses (assign.go, pure) and
// the loop that writes them (run.go). It changes nothing but status.
//
// Invariant: who has which address is known from the Services alone, so a
// restart forgets nothing; two Services never have the same one.
//
// Start reading at Assign.
package loadbalancer
