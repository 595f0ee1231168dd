// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"testing"

	"tulle.dev/tulle/internal/controlplane/model"
)

func event(kind Kind, name string, object any) Event {
	return Event{Kind: kind, Key: model.Key{Name: name}, Object: object}
}

// TestQueue: nothing before every kind has synced, the first batch in order and without what is gone
// again, afterwards the last event of each object in the order in which they first changed.
func TestQueue(t *testing.T) {
	q := newQueue([]Kind{Service, Pod})
	q.put(Pod, []Event{event(Pod, "b", 1), event(Pod, "a", 1), event(Pod, "c", 1)}, true)
	q.put(Pod, []Event{event(Pod, "c", nil), event(Pod, "b", 2)}, false)
	if _, ok := q.take(); ok || len(q.wake) > 0 {
		t.Fatal("a batch before Services have synced")
	}
	same(t, []Kind{Service}, q.missing())
	q.put(Service, []Event{event(Service, "z", 1)}, true)
	if len(q.wake) != 1 {
		t.Error("nobody was woken")
	}
	got, ok := q.take()
	if !ok {
		t.Fatal("no first batch")
	}
	same(t, []Event{event(Service, "z", 1), event(Pod, "a", 1), event(Pod, "b", 2)}, got)
	if _, ok := q.take(); ok {
		t.Error("an empty batch after the first")
	}
	q.put(Service, []Event{event(Service, "z", nil)}, false)
	q.put(Pod, []Event{event(Pod, "b", 3), event(Pod, "a", nil), event(Pod, "b", 4)}, false)
	got, _ = q.take()
	same(t, []Event{event(Service, "z", nil), event(Pod, "b", 4), event(Pod, "a", nil)}, got)
}

// TestEmptyFirstBatch: an empty cluster is a state like any other.
func TestEmptyFirstBatch(t *testing.T) {
	q := newQueue([]Kind{Service})
	q.put(Service, nil, true)
	if got, ok := q.take(); !ok || len(got) > 0 || len(q.wake) != 1 {
		t.Errorf("%v, %v", got, ok)
	}
}
