// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package names is the one place where labels, annotations, ports, paths,
// SPIFFE ids and xDS resource names are spelled, built and parsed.
//
// It knows no other package of Tulle and only the standard library, so every
// half of the house (operator, control plane, data plane, slot) may import it.
// Invariant: for every name, Parse(Build(x)) == x.
package names
