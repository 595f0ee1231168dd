// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package bench holds the benchmarks of the control plane, one command each:
//
//	engine  the incremental engine: work and time of one change, by size
//	ads     the delta ADS server beside go-control-plane's, over loopback
//
// It is a module of its own because of what it compares with. Each command
// prints a table, ends with a failure if a figure misses its target, and takes
// less than three minutes.
package bench
