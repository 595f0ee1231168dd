// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package kinds tells which of the kinds that the mesh stands on are
// installed, and starts what needs them once they are: cert-manager and the
// Gateway API may come after the operator, and may go and come again.
//
// It knows kinds and not objects. Invariant: no informer is started on a kind
// that is not there, because that would hold the operator's start up.
package kinds
