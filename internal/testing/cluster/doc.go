// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package cluster is what tests of a real cluster need: apply YAML, wait for
// a condition, run a load in a pod and read what became of it.
//
// It uses the cluster that KUBECONFIG names and fails with a sentence that
// says so where there is none: a test that can't run must not look green.
// Everything it makes in a namespace goes with that namespace. It waits on
// conditions and never on time alone.
package cluster
