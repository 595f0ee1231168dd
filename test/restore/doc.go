// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package restore puts a backup of one cluster's mesh back in another cluster.
// It needs two: KUBECONFIG with an installed Mesh, and TULLE_SECOND, the
// kubeconfig of one with the operator and without a Mesh, nor anything else of
// value; make restore-elsewhere brings it up.
package restore
