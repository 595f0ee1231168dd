// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
)

// TestManyDueObjects: objects that are due and have nothing new to report cost no more than their number, and the lock is
// free in between. A tenant can have a backend of many routes become ready and unready all the time.
func TestManyDueObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 20_000
		w := NewWriter(nil, logr.Discard())
		var names []string
		for i := range n {
			names = append(names, fmt.Sprint("r", i))
			w.Route(routeID(names[i]), verdict("c", 1))
		}
		w.Progress(own, rows(names, "c", 1, 1))
		for _, name := range names { // each was written once
			id := routeID(name)
			w.told[id] = w.judged(id, w.needs(id), nil)
			delete(w.look, id)
		}
		before := w.dirty.Comparisons()
		if _, _, ok := w.nextOf(atOnce); ok || w.dirty.Len() != n-atOnce {
			t.Errorf("%d objects are left, want %d: the lock has to be free in between", w.dirty.Len(), n-atOnce)
		}
		if id, wait := w.next(); wait != time.Minute || w.dirty.Len() > 0 {
			t.Errorf("%v is to be written after %v, and %d are left; want none", id, wait, w.dirty.Len())
		}
		if got := w.dirty.Comparisons() - before; got > 40*n {
			t.Errorf("%d comparisons for %d objects", got, n)
		}
	})
}
