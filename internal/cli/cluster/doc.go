// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package cluster is the command line's only client: it reads facts from the
// API server, asks the control plane and runs a read-only request in a proxy.
//
// It changes nothing in the cluster but the spec of a Mesh (upgrade.go), which
// it does only if that is still as it was read, what a backup puts back
// (backup.go), and who leaves the mesh (rollout.go, takedown.go). Invariant: one
// thing that can't be read (a missing right, a CRD that is not there) never hides
// the others; it is noted in facts.Facts.Unread.
//
// Start reading at Connect and Observe.
package cluster
