// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package olm has the Operator Lifecycle Manager install the operator of one
// release on a real cluster, upgrade it to the next and remove it, while the
// mesh carries traffic; in between the mesh itself is upgraded, by its Mesh.
//
// The next release is the one of bundle/; the one before is made from it
// (release_test.go). It needs a cluster of its own (TULLE_OLM_CLUSTER, its
// KUBECONFIG), with OLM, the images of both releases, and without an operator;
// `make test-olm` sees to all of that. Start with olm_test.go.
package olm
