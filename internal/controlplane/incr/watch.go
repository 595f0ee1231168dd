// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package incr

import "iter"

// Watch notes the keys that Commits bring to or take from its sources. It is for whoever feeds the inputs: derive
// functions use DeriveKeys, which keeps state for each key that there is.
type Watch[B comparable] struct{ keys map[B]struct{} }

// NewWatch returns a watch of sources, before the first Commit.
func NewWatch[B comparable](e *Engine, sources ...Keyed[B]) *Watch[B] {
	if e.sealed {
		panic("incr: a watch is built after the first Commit")
	}
	w := &Watch[B]{keys: map[B]struct{}{}}
	for _, s := range sources {
		s.onPresence(func(b B) { w.keys[b] = struct{}{} })
	}
	return w
}

// Take returns the keys noted since the last call, each once, in no order. Some may have come and gone again.
func (w *Watch[B]) Take() []B {
	if len(w.keys) == 0 {
		return nil
	}
	out := make([]B, 0, len(w.keys))
	for b := range w.keys {
		out = append(out, b)
	}
	w.keys = emptied(w.keys)
	return out
}

// Has reports whether a bucket has entries. Derive functions use Lookup.
func (x *Index[B, K, V]) Has(b B) bool {
	x.c.outside()
	return x.holds(b)
}

// Bucket ranges over the keys of a bucket, in the order of the index. Derive functions use Lookup.
func (x *Index[B, K, V]) Bucket(b B) iter.Seq[K] {
	x.c.outside()
	return func(yield func(K) bool) {
		for _, k := range x.buckets[b] {
			if !yield(k) {
				return
			}
		}
	}
}
