// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"slices"
	"strings"
	"sync"

	"tulle.dev/tulle/internal/controlplane/model"
)

// queue gathers events between batches: while the consumer works, it keeps the last event of each
// object, so that a burst costs one batch and no more memory than it has objects.
type queue struct {
	wake chan struct{} // holds one token when there may be something to take

	mu      sync.Mutex
	pending []Event       // guarded by mu
	at      map[place]int // guarded by mu: where in pending an object's event is
	waiting map[Kind]bool // guarded by mu: kinds that have not synced
	first   bool          // guarded by mu: nothing has been taken yet
}

type place struct {
	kind Kind
	key  model.Key
}

func newQueue(kinds []Kind) *queue {
	q := &queue{wake: make(chan struct{}, 1), at: map[place]int{}, waiting: map[Kind]bool{}, first: true}
	for _, k := range kinds {
		q.waiting[k] = true
	}
	return q
}

// put adds events of a kind; synced says that with these all objects of the kind are known.
func (q *queue) put(kind Kind, events []Event, synced bool) {
	q.mu.Lock()
	for _, e := range events {
		p := place{e.Kind, e.Key}
		if i, ok := q.at[p]; ok {
			q.pending[i] = e
			continue
		}
		q.at[p] = len(q.pending)
		q.pending = append(q.pending, e)
	}
	if synced {
		delete(q.waiting, kind)
	}
	ready := len(q.waiting) == 0 && (q.first || len(q.pending) > 0)
	q.mu.Unlock()
	if ready {
		select {
		case q.wake <- struct{}{}:
		default:
		}
	}
}

// take returns what is pending, once every kind has synced. The first time that may be nothing, and
// it is in the order of kinds and names.
func (q *queue) take() (batch []Event, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) > 0 || !q.first && len(q.pending) == 0 {
		return nil, false
	}
	batch = q.pending
	if q.first {
		q.first = false
		// What came and went before the first batch was never known.
		batch = slices.DeleteFunc(batch, func(e Event) bool { return e.Object == nil })
		slices.SortFunc(batch, inOrder)
	}
	q.pending = nil
	q.at = map[place]int{} // a new one: clearing costs by the largest it ever was
	return batch, true
}

// missing are the kinds that have not synced, in order.
func (q *queue) missing() []Kind {
	q.mu.Lock()
	defer q.mu.Unlock()
	var out []Kind
	for _, k := range Kinds() {
		if q.waiting[k] {
			out = append(out, k)
		}
	}
	return out
}

func inOrder(a, b Event) int {
	if a.Kind != b.Kind {
		all := Kinds()
		return slices.Index(all, a.Kind) - slices.Index(all, b.Kind)
	}
	if c := strings.Compare(a.Key.Namespace, b.Key.Namespace); c != 0 {
		return c
	}
	return strings.Compare(a.Key.Name, b.Key.Name)
}
