// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package incr

import (
	"fmt"
	"slices"
)

// Reader is how a derive function reads other collections. It records what
// was read, absent entries too, and is valid while that function runs.
type Reader struct {
	eng  *Engine
	pos  int
	cell evaluation
	deps []dep
	done bool
}

// dep is one read: where, and which place the evaluation has there.
type dep struct {
	src   source
	place int
}

func record[K comparable](r *Reader, eng *Engine, pos int, label string, m map[K]*readers[K], k K) {
	if r.done || r.eng != eng || pos >= r.pos {
		panic("incr: " + label + " is read after its function has returned, or was built after its reader")
	}
	rs := readersOf(m, k)
	rs.list = append(rs.list, reader{r.cell, len(r.deps)})
	r.deps = append(r.deps, dep{rs, len(rs.list) - 1})
}

// Get reads one entry.
func Get[K comparable, V any](r *Reader, c *Collection[K, V], k K) (V, bool) {
	record(r, c.eng, c.pos, c.label, c.readers, k)
	v, ok := c.entries[k]
	return v, ok
}

// Lookup calls f for each entry of a bucket, in the order of the index.
func Lookup[B comparable, K comparable, V any](r *Reader, x *Index[B, K, V], b B, f func(K, V)) {
	record(r, x.c.eng, x.c.pos, x.c.label, x.readers, b)
	for _, k := range x.buckets[b] {
		f(k, x.c.entries[k])
	}
}

// Count reads how many entries a bucket has.
func Count[B comparable, K comparable, V any](r *Reader, x *Index[B, K, V], b B) int {
	record(r, x.c.eng, x.c.pos, x.c.label, x.readers, b)
	return len(x.buckets[b])
}

// Derive returns the collection of what fn emits for each entry of src. fn
// must be pure, must read other collections only through the Reader, and must
// emit each key once; no two entries of src may emit the same key.
func Derive[IK comparable, IV any, OK comparable, OV any](
	e *Engine, name string, src *Collection[IK, IV], equal func(a, b OV) bool,
	fn func(r *Reader, k IK, v IV, emit func(OK, OV)),
) *Collection[OK, OV] {
	d := newDerived(e, name, equal, src.holds, func(r *Reader, k IK, emit func(OK, OV)) {
		fn(r, k, src.entries[k], emit)
	})
	src.changed = append(src.changed, func(k IK) { d.cellOf(k).markDirty() })
	return d.Collection
}

// DeriveKeys returns the collection of what fn emits for each distinct key
// that at least one of the sources has: the way to join several collections,
// or to group one by a key of an Index. fn runs when its key appears, and
// again when something that it read through the Reader changes.
func DeriveKeys[B comparable, OK comparable, OV any](
	e *Engine, name string, equal func(a, b OV) bool,
	fn func(r *Reader, k B, emit func(OK, OV)), sources ...Keyed[B],
) *Collection[OK, OV] {
	holds := func(k B) bool {
		return slices.ContainsFunc(sources, func(s Keyed[B]) bool { return s.holds(k) })
	}
	d := newDerived(e, name, equal, holds, fn)
	for _, s := range sources {
		s.onPresence(func(k B) { d.cellOf(k).enqueue() })
	}
	return d.Collection
}

type derived[IK comparable, OK comparable, OV any] struct {
	*Collection[OK, OV]
	holds func(IK) bool
	fn    func(*Reader, IK, func(OK, OV))
	cells map[IK]*cell[IK, OK, OV]
	dirty []*cell[IK, OK, OV]
	ran   int

	owner  map[OK]IK        // whose value an output key has
	rivals map[OK]map[IK]OV // further emitters of the same key, and their values
	fought map[OK]struct{}  // keys that had rivals in this batch
}

// cell is one evaluation: the function of a stage, applied to one key.
type cell[IK comparable, OK comparable, OV any] struct {
	stage  *derived[IK, OK, OV]
	key    IK
	queued bool // it is in stage.dirty
	stale  bool // its function must run, not only its existence be looked at
	deps   []dep
	outs   []OK
}

func newDerived[IK comparable, OK comparable, OV any](
	e *Engine, name string, equal func(a, b OV) bool, holds func(IK) bool, fn func(*Reader, IK, func(OK, OV)),
) *derived[IK, OK, OV] {
	d := &derived[IK, OK, OV]{
		Collection: newCollection[OK](e, name, equal), holds: holds, fn: fn, cells: map[IK]*cell[IK, OK, OV]{},
		owner: map[OK]IK{}, rivals: map[OK]map[IK]OV{}, fought: map[OK]struct{}{},
	}
	e.add(name, d)
	return d
}

func (d *derived[IK, OK, OV]) cellOf(k IK) *cell[IK, OK, OV] {
	c := d.cells[k]
	if c == nil {
		c = &cell[IK, OK, OV]{stage: d, key: k, stale: true}
		d.cells[k] = c
	}
	return c
}

func (c *cell[IK, OK, OV]) enqueue() {
	if !c.queued {
		c.queued = true
		c.stage.dirty = append(c.stage.dirty, c)
	}
}

func (c *cell[IK, OK, OV]) markDirty() {
	c.stale = true
	c.enqueue()
}

func (c *cell[IK, OK, OV]) moved(link, place int) { c.deps[link].place = place }

func (d *derived[IK, OK, OV]) evals() int { return d.ran }

func (d *derived[IK, OK, OV]) propagate() {
	d.ran = 0
	for _, c := range d.dirty {
		c.queued = false
		d.run(c)
	}
	d.dirty = emptiedList(d.dirty)
	d.judge()
	d.apply()
}

// run computes one key again, or takes it away. Nothing of the stage changes
// before fn has returned, so a panic leaves the last good outputs as they are.
func (d *derived[IK, OK, OV]) run(c *cell[IK, OK, OV]) {
	id := func() failureID { return failureID{collection: d.label, kind: panicked, key: c.key} }
	exists := d.holds(c.key)
	if exists && !c.stale {
		return // it went and came back within the batch
	}
	for _, x := range c.deps {
		x.src.remove(x.place)
	}
	if !exists {
		for _, o := range c.outs {
			d.release(o, c.key)
		}
		d.eng.heal(id)
		delete(d.cells, c.key)
		return
	}
	var keys keySet[OK]
	var values []OV
	r := &Reader{eng: d.eng, pos: d.pos, cell: c, deps: c.deps[:0]}
	c.deps, c.stale = nil, false
	d.ran++
	d.eng.evaluating = true
	ok := d.eng.protect(id, func() {
		d.fn(r, c.key, func(o OK, v OV) {
			if !keys.add(o) {
				panic(fmt.Sprintf("key %v is emitted twice", o))
			}
			values = append(values, v)
		})
	})
	d.eng.evaluating = false
	r.done = true
	c.deps = r.deps
	if !ok {
		return
	}
	for _, o := range c.outs {
		if !keys.has(o) {
			d.release(o, c.key)
		}
	}
	for i, o := range keys.list {
		d.claim(o, c.key, values[i])
	}
	c.outs = keys.list
}

// claim stages a value for an output key, or keeps it aside if the key
// belongs to a source key that comes first.
func (d *derived[IK, OK, OV]) claim(o OK, k IK, v OV) {
	who, taken := d.owner[o]
	if !taken || who == k {
		d.owner[o] = k
		d.staged[o] = staged[OV]{v, true}
		return
	}
	d.fought[o] = struct{}{}
	if d.rivals[o] == nil {
		d.rivals[o] = map[IK]OV{}
	}
	if !before(k, who) {
		d.rivals[o][k] = v
		return
	}
	delete(d.rivals[o], k)
	d.rivals[o][who] = d.valueOf(o)
	d.owner[o] = k
	d.staged[o] = staged[OV]{v, true}
}

// release gives up an output key; the first of its rivals takes it over.
func (d *derived[IK, OK, OV]) release(o OK, k IK) {
	rivals := d.rivals[o]
	if len(rivals) > 0 {
		d.fought[o] = struct{}{}
	}
	if d.owner[o] != k {
		delete(rivals, k)
		return
	}
	if len(rivals) == 0 {
		delete(d.owner, o)
		d.staged[o] = staged[OV]{}
		return
	}
	next := first(rivals)
	d.owner[o] = next
	d.staged[o] = staged[OV]{rivals[next], true}
	delete(rivals, next)
}

// valueOf is what an output key has at this point of the batch.
func (d *derived[IK, OK, OV]) valueOf(o OK) OV {
	if s, ok := d.staged[o]; ok {
		return s.v
	}
	return d.entries[o]
}

// judge reports the output keys that are still conflictingRoute now that every
// evaluation of the batch has run: a key that merely moved is not.
func (d *derived[IK, OK, OV]) judge() {
	for o := range d.fought {
		id := func() failureID { return failureID{collection: d.label, kind: collided, key: o} }
		rivals := d.rivals[o]
		if len(rivals) == 0 {
			delete(d.rivals, o)
			d.eng.heal(id)
			continue
		}
		d.eng.fail(id(), fmt.Sprintf("emitted by %v and by %v: the first one's value is used", d.owner[o], first(rivals)), "")
	}
	d.fought = emptied(d.fought)
}

// before orders rivals by their printed form: slow, but only a bug in the
// graph makes rivals, and every replica and every history agrees on it.
func before[K comparable](a, b K) bool { return fmt.Sprint(a) < fmt.Sprint(b) }

func first[K comparable, V any](m map[K]V) K {
	var min K
	found := false
	for k := range m {
		if !found || before(k, min) {
			min, found = k, true
		}
	}
	return min
}

// keySet is the keys that a function emitted. A few are searched, many hashed.
type keySet[K comparable] struct {
	list []K
	set  map[K]struct{} // nil while the list is short
}

// add returns false if the key was there already.
func (s *keySet[K]) add(k K) bool {
	if s.has(k) {
		return false
	}
	s.list = append(s.list, k)
	if len(s.list) == 16 {
		s.set = make(map[K]struct{}, 64)
		for _, x := range s.list {
			s.set[x] = struct{}{}
		}
	} else if s.set != nil {
		s.set[k] = struct{}{}
	}
	return true
}

func (s *keySet[K]) has(k K) bool {
	if s.set != nil {
		_, ok := s.set[k]
		return ok
	}
	return slices.Contains(s.list, k)
}
