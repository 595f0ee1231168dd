// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package incr is the incremental engine of the control plane: keyed
// collections of immutable values, derived from one another by pure functions
// whose reads are recorded.
//
//	Input --Derive--> Collection --NewIndex--> Index --DeriveKeys--> Collection
//	  ^ Set, Delete                                                     | Changes
//	  +------------------------- one Commit = one pass -----------------+
//
// It owns propagation and nothing else: it knows no Kubernetes, no Envoy, and
// uses the standard library only. It takes no locks and starts no goroutines;
// one goroutine builds the graph, writes the inputs and commits.
//
// Invariant: after every Commit each collection holds what building it anew
// from the inputs would hold, and exactly those functions ran whose source
// entry, or whose recorded reads, gave a different answer than when they ran
// last. Three things make that so: a collection changes each key at most once
// per Commit (writes are staged and compared with what was there), a function
// can read only through its Reader, and collections are visited in the order
// in which they were built, which is a topological one.
//
// A function that panics poisons one key: that key keeps the outputs of its
// last good run, the failure is in Engine.Failures, and the function runs
// again when something that it had read changes. Two keys that emit the same
// output key are a failure too: the one that is first in the order of its
// printed key wins, whatever happened in which order.
//
// Start reading at engine.go, then collection.go, index.go and derive.go.
package incr
