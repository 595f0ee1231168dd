// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package check judges a cluster: is it fit for Tulle, and once Tulle is
// there, does everything work? It is pure: facts in, findings out.
//
// Each rule is one small function in the list in check.go, in the order in
// which a person would want to know. Invariant: a finding that is not OK says
// what to do in Fix, and a rule whose facts could not be read says Unknown,
// never OK.
package check
