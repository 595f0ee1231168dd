// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package figures turns what a benchmark has measured into numbers and tables:
// percentiles, ratios, Markdown tables, and the sums over a metric's series.
// It is pure.
package figures
