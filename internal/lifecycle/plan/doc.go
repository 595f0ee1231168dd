// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package plan decides what to do next for a Mesh, and what to say about it.
//
// Next is a pure function of what is seen: it remembers nothing, so the
// operator may crash after any step and goes on from there. The steps are in
// the order in which they are safe; what must be awaited (a certificate, a
// ready replica) withholds the steps behind it until it is seen.
//
// Invariants: nothing that serves is taken away before its successor serves;
// roots are spread before anything is signed below them; the webhook is the
// last to come and the first to go.
//
//	Observed -> Next -> steps (apply) + status (controllers/mesh)
package plan
