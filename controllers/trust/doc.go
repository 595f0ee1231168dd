// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package trust keeps the roots of the mesh in every namespace where proxies
// run or are to run, as ConfigMap tulle-trust, which the slots mount live.
//
// The mesh controller keeps the one in the system namespace; this controller
// copies it. Invariant: a ConfigMap goes only when no proxy is left in its
// namespace. Start at Wanted, the decision.
package trust
