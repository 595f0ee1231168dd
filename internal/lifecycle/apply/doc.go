// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package apply brings objects about with server-side apply, and deletes them.
//
// It decides nothing: what to apply and when comes from packages render and
// plan. Invariant: only the fields in the given object become Tulle's; those
// that anybody else set stay theirs. An object that is as it was left is not
// written again. Start at Applier.
package apply
