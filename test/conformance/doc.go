// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package conformance runs the Gateway API's own conformance suite against the
// mesh that KUBECONFIG leads to, all seven profiles, and keeps its report.
//
//	make conformance                               all of it, no test skipped
//	make conformance TEST='^HTTPRoute.*Redirect'   tests by name
//	make conformance FEATURE=ListenerSet           tests of a feature
//
// The suite is its authors': nothing of its manifests or tests is changed. Its
// images are packed under the names that it gives them (refs prints these).
// It is a module of its own, so that the product does not depend on it.
//
// Start reading at conformance_test.go.
package conformance
