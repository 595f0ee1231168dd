// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package chart makes the Helm chart from the objects of config/default.
//
// It owns which fields are values; everything else of an object goes into its
// template as it is. It knows nothing of what the operator does.
//
// Invariant: rendered with its own default values into the namespace
// tulle-system, the chart gives the objects of config/default (a test renders
// it with Helm's engine and compares).
//
// Start with Generate.
package chart
