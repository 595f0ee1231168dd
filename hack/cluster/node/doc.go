// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package node is the first process of a cluster's namespaces: it makes the
// node out of fresh network, mount, pid, uts and ipc namespaces, and then
// starts the components, restarts those that die, and collects orphans.
//
// It must not know how the namespaces came about or who asks for the cluster;
// it learns what to do from a Spec on file descriptor 3 and tells what it does
// in a Report file.
//
// Invariant: ending this process ends the cluster: every process, mount and
// interface is in its namespaces and goes with them.
//
//	Spec -> mounts -> network -> supervise -> Report (on every change)
//
// Start reading at Run.
package node
