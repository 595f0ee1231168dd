// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package access decides who may read what a replica of the control plane serves
// on its internal port.
//
//	bearer token -> shape (no request to the API server) -> answer that is kept, or
//	TokenReview: is it valid, for names.InternalAudience? ->
//	SubjectAccessReview: may its account get controlplanes/SUBRESOURCE in the
//	control plane's namespace?
//
// So the cluster's RBAC decides, as it does for kubelets. The package owns no
// list of accounts and knows nothing of what is served.
//
// Invariants: no request is passed on without the API server's word on its token
// and its account, which is at most Options.Keep old. Reviews wait in three queues:
// of tokens that were allowed before, of new tokens from addresses where callers
// were allowed, and of all others. Each has places, a rate and memory of its own,
// and is fair by address, so strangers delay neither the callers that the API
// server allowed nor, for long, those that come for the first time.
//
// Start with Guard.Require.
package access
