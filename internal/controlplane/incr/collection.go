// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package incr

import "iter"

// Collection is a keyed set of values. A value must not change once it is in
// a collection. Outside of derive functions it may be read between Commits
// and while publishing; inside of them only through the Reader.
type Collection[K comparable, V any] struct {
	eng   *Engine
	label string
	pos   int
	input bool
	equal func(a, b V) bool

	entries map[K]V
	staged  map[K]staged[V] // written, not yet compared with entries
	changes []Change[K, V]  // of the current batch, each key once

	readers  map[K]*readers[K]
	indexes  []func(Change[K, V])
	changed  []func(K) // told of every change
	presence []func(K) // told of keys that came or went
}

type staged[V any] struct {
	v   V
	has bool
}

// Change is one entry that a Commit changed: HadOld is false for a new entry,
// Deleted is true for one that has gone. Old and New differ, as the
// collection's equality has it.
type Change[K comparable, V any] struct {
	Key             K
	Old, New        V
	HadOld, Deleted bool
}

func newCollection[K comparable, V any](e *Engine, name string, equal func(a, b V) bool) *Collection[K, V] {
	return &Collection[K, V]{
		eng: e, label: name, pos: len(e.stages), equal: equal,
		entries: map[K]V{}, staged: map[K]staged[V]{}, readers: map[K]*readers[K]{},
	}
}

// NewInput returns a collection that is written from outside. Values for
// which equal holds are taken for the same.
func NewInput[K comparable, V any](e *Engine, name string, equal func(a, b V) bool) *Collection[K, V] {
	c := newCollection[K](e, name, equal)
	c.input = true
	e.add(name, c)
	return c
}

// Set writes an entry of an input. It is seen from the next Commit on.
func (c *Collection[K, V]) Set(k K, v V) {
	c.writable()
	c.staged[k] = staged[V]{v, true}
}

// Put sets an entry of an input to what read makes of an object; nil deletes the entry. If read panics, that is a
// failure of the key like that of a derive function, and the entry stays as it is. It is seen from the next Commit on.
func Put[K comparable, V any](c *Collection[K, V], k K, object any, read func(object any) V) {
	c.eng.protect(func() failureID { return failureID{collection: c.label, kind: panicked, key: k} }, func() {
		if object == nil {
			c.Delete(k)
		} else {
			c.Set(k, read(object))
		}
	})
}

// Delete removes an entry of an input. It is seen from the next Commit on.
func (c *Collection[K, V]) Delete(k K) {
	c.writable()
	c.staged[k] = staged[V]{}
}

func (c *Collection[K, V]) writable() {
	if !c.input {
		panic("incr: " + c.label + " is derived, it can't be written")
	}
	if c.eng.evaluating {
		panic("incr: a derive function must not write " + c.label)
	}
}

// Value returns an entry. Derive functions use Get.
func (c *Collection[K, V]) Value(k K) (V, bool) {
	c.outside()
	v, ok := c.entries[k]
	return v, ok
}

// All ranges over the entries, in no order. Derive functions use Lookup.
func (c *Collection[K, V]) All() iter.Seq2[K, V] {
	c.outside()
	return func(yield func(K, V) bool) {
		for k, v := range c.entries {
			if !yield(k, v) {
				return
			}
		}
	}
}

// Len is the number of entries.
func (c *Collection[K, V]) Len() int {
	c.outside()
	return len(c.entries)
}

// Changes returns what the current Commit changed, each key once, in no
// order. It is for the publish function and empty at other times.
func (c *Collection[K, V]) Changes() []Change[K, V] {
	c.outside()
	return c.changes
}

// Name is the name that the collection was built with.
func (c *Collection[K, V]) Name() string { return c.label }

func (c *Collection[K, V]) outside() {
	if c.eng.evaluating {
		panic("incr: a derive function must read " + c.label + " through its Reader")
	}
}

func (c *Collection[K, V]) name() string { return c.label }
func (c *Collection[K, V]) evals() int   { return 0 }
func (c *Collection[K, V]) propagate()   { c.apply() }
func (c *Collection[K, V]) finish()      { c.changes = emptiedList(c.changes) }

// apply turns staged writes into changes. What ends as it was is no change,
// so nobody downstream hears of it.
func (c *Collection[K, V]) apply() {
	if len(c.staged) == 0 {
		return
	}
	for k, s := range c.staged {
		old, had := c.entries[k]
		if !had && !s.has || had && s.has && c.same(k, old, s.v) {
			continue
		}
		ch := Change[K, V]{Key: k, Old: old, New: s.v, HadOld: had, Deleted: !s.has}
		if s.has {
			c.entries[k] = s.v
		} else {
			delete(c.entries, k)
			c.eng.heal(func() failureID { return failureID{collection: c.label, kind: uncompared, key: k} })
		}
		c.changes = append(c.changes, ch)
		c.readers[k].touch()
		for _, f := range c.indexes {
			f(ch)
		}
		for _, f := range c.changed {
			f(k)
		}
		if had != s.has {
			for _, f := range c.presence {
				f(k)
			}
		}
	}
	c.staged = emptied(c.staged)
}

// same compares, taking values whose comparison panics for different.
func (c *Collection[K, V]) same(k K, a, b V) (same bool) {
	c.eng.protect(func() failureID { return failureID{collection: c.label, kind: uncompared, key: k} }, func() { same = c.equal(a, b) })
	return same
}

// reader is one evaluation that read something, and where in its list of
// reads it notes the place it has in the list of readers.
type reader struct {
	cell evaluation
	link int
}

// evaluation is a cell, whatever its types.
type evaluation interface {
	markDirty()
	moved(link, place int)
}

// readers are the evaluations that read one key of a collection or one bucket
// of an index. A list with places, not a map: marking costs what is in it,
// and not what once was.
type readers[K comparable] struct {
	owner map[K]*readers[K]
	key   K
	list  []reader
}

// source is readers, whatever their key.
type source interface{ remove(place int) }

func (rs *readers[K]) touch() {
	if rs == nil {
		return
	}
	for _, r := range rs.list {
		r.cell.markDirty()
	}
}

func (rs *readers[K]) remove(place int) {
	last := len(rs.list) - 1
	if place != last {
		m := rs.list[last]
		rs.list[place] = m
		m.cell.moved(m.link, place)
	}
	rs.list[last] = reader{}
	rs.list = rs.list[:last]
	if last == 0 {
		delete(rs.owner, rs.key)
	}
}

func readersOf[K comparable](m map[K]*readers[K], k K) *readers[K] {
	rs := m[k]
	if rs == nil {
		rs = &readers[K]{owner: m, key: k}
		m[k] = rs
	}
	return rs
}
