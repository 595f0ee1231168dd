// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package incr

import (
	"fmt"
	"slices"
)

// Index finds the entries of a collection by keys computed from them. A
// bucket is the entries of one such key.
type Index[B comparable, K comparable, V any] struct {
	c        *Collection[K, V]
	number   int // among the indexes of c
	compare  func(a, b K) int
	keys     func(K, V) []B
	buckets  map[B][]K // sorted by compare
	readers  map[B]*readers[B]
	presence []func(B)
}

// NewIndex adds an index to a collection, before the first Commit. compare
// orders the keys of c, so that whoever reads a bucket reads it in one order
// always; it must be 0 for equal keys only. keys must be pure; nil puts an
// entry in no bucket.
func NewIndex[B comparable, K comparable, V any](c *Collection[K, V], compare func(a, b K) int, keys func(K, V) []B) *Index[B, K, V] {
	if c.eng.sealed {
		panic("incr: an index of " + c.label + " is built after the first Commit")
	}
	x := &Index[B, K, V]{c: c, number: len(c.indexes), compare: compare, keys: keys, buckets: map[B][]K{}, readers: map[B]*readers[B]{}}
	c.indexes = append(c.indexes, x.update)
	return x
}

// update moves an entry between buckets. The old buckets are computed again
// from the old value instead of being kept: keys is pure, and a list per entry
// and index is most of what an index would weigh. An entry whose keys can't be
// computed, or can't be put in order, is in no bucket, and a failure.
func (x *Index[B, K, V]) update(ch Change[K, V]) {
	var old, now []B
	if ch.HadOld {
		old = x.keysAgain(ch.Key, ch.Old)
	}
	id := func() failureID {
		return failureID{collection: x.c.label, kind: unindexed, index: x.number, key: ch.Key}
	}
	x.c.eng.protect(id, func() {
		if !ch.Deleted {
			now = x.keys(ch.Key, ch.New)
		}
		for _, b := range now {
			x.insert(b, ch.Key)
			x.readers[b].touch()
		}
	})
	for _, b := range old {
		if !slices.Contains(now, b) {
			x.remove(b, ch.Key)
			x.readers[b].touch()
		}
	}
}

// keysAgain is keys of a value that was seen before: if it panics, it did so then and was reported.
func (x *Index[B, K, V]) keysAgain(k K, v V) (bs []B) {
	defer func() { _ = recover() }()
	return x.keys(k, v)
}

func (x *Index[B, K, V]) insert(b B, k K) {
	l := x.buckets[b]
	i := len(l)
	if i > 0 && x.compare(l[i-1], k) >= 0 { // in order, as most loads are, it is an append
		var found bool
		if i, found = slices.BinarySearchFunc(l, k, x.compare); found && l[i] == k {
			return
		} else if found {
			panic(fmt.Sprintf("the order given for an index of %s has the keys %v and %v as equal", x.c.label, l[i], k))
		}
	}
	x.buckets[b] = slices.Insert(l, i, k)
	if len(l) == 0 {
		x.appearance(b)
	}
}

func (x *Index[B, K, V]) remove(b B, k K) {
	l := x.buckets[b]
	i, found := slices.BinarySearchFunc(l, k, x.compare)
	if !found || l[i] != k {
		return // twice in a list of buckets, or it had no place in the order
	}
	if len(l) > 1 {
		x.buckets[b] = slices.Delete(l, i, i+1)
		return
	}
	delete(x.buckets, b)
	x.appearance(b)
}

func (x *Index[B, K, V]) appearance(b B) {
	for _, f := range x.presence {
		f(b)
	}
}

// Keyed is what DeriveKeys takes its keys from: a Collection, whose keys are
// those of its entries, or an Index, whose keys are those of its buckets that
// are not empty.
type Keyed[B comparable] interface {
	holds(B) bool
	onPresence(func(B))
}

func (x *Index[B, K, V]) holds(b B) bool       { return len(x.buckets[b]) > 0 }
func (x *Index[B, K, V]) onPresence(f func(B)) { x.presence = append(x.presence, f) }

func (c *Collection[K, V]) holds(k K) bool       { _, ok := c.entries[k]; return ok }
func (c *Collection[K, V]) onPresence(f func(K)) { c.presence = append(c.presence, f) }
