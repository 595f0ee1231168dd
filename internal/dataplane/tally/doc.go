// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package tally turns the counters of an Envoy, which only grow, into what
// happened lately.
//
//	Sample (what Envoy has counted) -> Window (of a minute) -> Figures
//
// It is pure, uses the standard library alone, and knows neither Envoy's admin
// interface (package envoy) nor what is done with the figures (package agent).
//
// Invariants: a Window never tells of more requests than there were in its
// time, and its memory does not depend on the traffic: one sample per look, at
// most one count per width of a histogram's bin.
//
// Start reading at window.go.
package tally
