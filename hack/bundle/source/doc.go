// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package source reads the repository's kustomizations into objects, and
// writes generated trees of files. It is the only I/O of the generators.
//
// Invariant: the same config/ gives the same objects in the same order, and a
// written tree holds nothing but what was generated.
//
// Start with Load.
package source
