// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package shadow compares what two control planes make of the same cluster: the
// one that serves and the one of a new release that runs beside it and doesn't.
//
//	old Translation ─┐
//	                 ├─ Diff ─> Difference ─> Summary, NewlyRejected
//	new Translation ─┘
//
// It asks nobody: the Translations come from the control planes' debug port. It
// knows names and hashes, and nothing of what Envoy makes of them. Invariant:
// the same contents are no difference, whatever release they come from, and the
// result is sorted, so that it may stand in a status. Start reading at Diff.
package shadow
