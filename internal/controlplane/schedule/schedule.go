// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package schedule keeps keys sorted by the time at which each is due.
//
// Invariant: no operation visits all keys. With n keys it takes about log n comparisons, so a tenant with many
// objects that are due costs no more than its share.
package schedule

import (
	"container/heap"
	"time"
)

// Schedule has a time for each of its keys. Make it with New. Not safe for concurrent use.
type Schedule[K comparable] struct{ q queue[K] }

// New returns an empty Schedule.
func New[K comparable]() *Schedule[K] { return &Schedule[K]{queue[K]{index: map[K]int{}}} }

// Set adds a key, or changes its time. Keys of the same time are due in the order in which they were set.
func (s *Schedule[K]) Set(k K, at time.Time) {
	s.q.set++
	e := entry[K]{k, at, s.q.set}
	if i, ok := s.q.index[k]; ok {
		s.q.entries[i] = e
		heap.Fix(&s.q, i)
		return
	}
	heap.Push(&s.q, e)
}

// At returns the time of a key.
func (s *Schedule[K]) At(k K) (at time.Time, ok bool) {
	i, ok := s.q.index[k]
	if !ok {
		return at, false
	}
	return s.q.entries[i].at, true
}

// First returns the key that is due first, and when; ok is false if there is no key.
func (s *Schedule[K]) First() (k K, at time.Time, ok bool) {
	if len(s.q.entries) == 0 {
		return k, at, false
	}
	return s.q.entries[0].key, s.q.entries[0].at, true
}

// Delete removes a key. It does nothing if there is no such key.
func (s *Schedule[K]) Delete(k K) {
	if i, ok := s.q.index[k]; ok {
		heap.Remove(&s.q, i)
	}
}

// Len returns the number of keys.
func (s *Schedule[K]) Len() int { return len(s.q.entries) }

// Comparisons returns how many comparisons of times were made since New. It is for tests of the cost.
func (s *Schedule[K]) Comparisons() int { return s.q.compared }

type entry[K comparable] struct {
	key K
	at  time.Time
	set uint64 // the how many-th call of Set it was
}

// queue is a heap.Interface that keeps the place of each key.
type queue[K comparable] struct {
	entries  []entry[K]
	index    map[K]int
	set      uint64
	compared int
}

func (q *queue[K]) Len() int { return len(q.entries) }

func (q *queue[K]) Less(i, j int) bool {
	q.compared++
	a, b := &q.entries[i], &q.entries[j]
	if c := a.at.Compare(b.at); c != 0 {
		return c < 0
	}
	return a.set < b.set
}

func (q *queue[K]) Swap(i, j int) {
	q.entries[i], q.entries[j] = q.entries[j], q.entries[i]
	q.index[q.entries[i].key], q.index[q.entries[j].key] = i, j
}

func (q *queue[K]) Push(x any) {
	e := x.(entry[K])
	q.index[e.key] = len(q.entries)
	q.entries = append(q.entries, e)
}

func (q *queue[K]) Pop() any {
	last := len(q.entries) - 1
	e := q.entries[last]
	q.entries[last] = entry[K]{}
	q.entries = q.entries[:last]
	delete(q.index, e.key)
	return e
}
