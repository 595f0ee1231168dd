// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package cli runs the tulle command line against a real cluster with a mesh
// in it, and compares what it says with what the cluster says. It needs
// KUBECONFIG and an installed Mesh; make e2e sees to both.
package cli
