// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package pki makes the certificates, keys and kubeconfigs of one cluster.
//
// It owns their names, subjects and lifetimes. It must not know who reads them.
// The three authorities are separate because trust in one must not be trust in
// another: clients of the API server, its front proxy, and etcd.
//
// Invariant: a folder holds either a complete set that fits the layout, or
// Ensure makes a new one.
//
// Start reading at Ensure.
package pki
