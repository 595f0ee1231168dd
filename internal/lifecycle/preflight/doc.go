// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package preflight says what in a cluster would stop an upgrade halfway: a
// Kubernetes that is too old, definitions that are missing, rights that the
// operator lacks, a quota without room for a second control plane, restarts
// that cannot work or that a PodDisruptionBudget forbids.
//
// It is pure: what is asked of the cluster, and how, is controllers/mesh's, and
// what follows from an obstacle is package upgrade's. Invariants: what is not
// known is no obstacle; each sentence names the object and says what to do.
//
//	rights.go       what the operator must be allowed, read off the objects themselves
//	disruptions.go  restarts, where proxies can't be replaced in place
//	quota.go        room for the second control plane
//	ground.go       all of it together; start here
package preflight
