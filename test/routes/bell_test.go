// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package routes

import (
	"sync"
	"testing"
	"time"
)

// bell lets one wait for what others note down under its lock.
type bell struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced at every change
}

func newBell() bell { return bell{changed: make(chan struct{})} }

// ring wakes those who wait. The caller holds the lock.
func (b *bell) ring() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// until waits until done, which is called with the lock held, says that nothing is missing, or the time
// is over; it returns what is missing then.
func (b *bell) until(t *testing.T, end time.Time, done func() (missing string)) string {
	t.Helper()
	over := time.NewTimer(time.Until(end))
	defer over.Stop()
	for {
		b.mu.Lock()
		missing, changed := done(), b.changed
		b.mu.Unlock()
		if missing == "" {
			return ""
		}
		select {
		case <-changed:
		case <-over.C:
			return missing
		case <-t.Context().Done():
			t.Fatalf("%v while waiting: %s", t.Context().Err(), missing)
		}
	}
}

// await ends the test if something is missing after so long.
func (b *bell) await(t *testing.T, limit time.Duration, what string, done func() (missing string)) {
	t.Helper()
	if missing := b.until(t, time.Now().Add(limit), done); missing != "" {
		t.Fatalf("%s: not within %v: %s", what, limit, missing)
	}
}
