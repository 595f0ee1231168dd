// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package apiserver starts a real kube-apiserver with its etcd for a test:
// the same program that the one-node cluster runs, and nothing else of it. No
// pod ever runs there and no controller works but the test's own, so a test
// plays kubelet, cert-manager and the rest as it needs them.
//
// It fails, and never skips, when the program is not built. Start at Start.
package apiserver
