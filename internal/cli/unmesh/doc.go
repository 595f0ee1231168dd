// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package unmesh decides how a mesh is taken down: what depends on it and
// can't be helped, and in which waves workloads are restarted without a proxy.
//
//	cluster -> Seen -> Next -> Plan -> cluster
//
// It knows no client and no clock. Invariant: a plan is made of what is there
// now alone, so that one that was broken off is gone on with by making it again;
// and a pod is only ever replaced by the workload that owns it.
//
// Start reading at Seen and Next.
package unmesh
