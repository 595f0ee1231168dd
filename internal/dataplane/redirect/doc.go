// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package redirect turns the TCP traffic of a pod to its proxy, with nftables
// rules in the pod's own network namespace, written through netlink.
//
//	Parse (flags) -> Config -> Rules (pure, ordered, a reason each) -> Apply (one transaction)
//
// It knows nothing of Envoy or of the control plane: only ports, the proxy's
// user and addresses. Invariant: applying is idempotent and atomic; a pod has
// the whole old table or the whole new one, never a part.
//
// Start reading at rules.go.
package redirect
