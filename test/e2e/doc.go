// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package e2e proves Tulle's promises on a real cluster, from outside: real
// Kubernetes, cert-manager, Envoys and load. It needs KUBECONFIG and a Mesh
// named by TULLE_MESH ("tulle") that is installed; make e2e sees to both.
//
// Each test makes its own namespaces and takes them away. Tests that change
// the Mesh itself put it back and do not run beside others.
package e2e
