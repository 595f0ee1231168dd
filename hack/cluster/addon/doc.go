// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package addon installs what a cluster needs besides Kubernetes itself: DNS,
// cert-manager and Gateway API's resource definitions.
//
// It owns the manifests and knows when an add-on works. It must not know how
// the cluster runs: it has a kubeconfig, a kubectl and a way to load images.
//
// Invariant: installing twice is the same as installing once, and Install
// returns only when the add-on does its work.
//
// Start reading at Install.
package addon
