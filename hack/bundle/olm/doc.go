// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package olm makes the bundle by which the Operator Lifecycle Manager (v0)
// installs the operator, from the objects of config/manifests.
//
// It owns the mapping of Kubernetes objects to what OLM takes: what becomes
// part of the ClusterServiceVersion, what is shipped beside it, and what OLM
// can't install and people must. It knows nothing of what the operator does.
//
// Invariant: every object of config/manifests is placed or named as left out;
// one that OLM doesn't know is an error, not silence.
//
// Start with Generate.
package olm
