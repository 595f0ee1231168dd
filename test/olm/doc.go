// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package olm has the Operator Lifecycle Manager install, upgrade and remove
// the operator on a real cluster, from bundle/, while the mesh carries traffic.
//
// It needs a cluster of its own (TULLE_OLM_CLUSTER, its KUBECONFIG), with OLM
// and without an operator; `make test-olm` sees to both. Start with olm_test.go.
package olm
