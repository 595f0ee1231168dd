// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"strconv"
	"testing"
	"time"
)

// TestLimiter: a burst, then one per interval, each key for itself; never more saved than a burst.
func TestLimiter(t *testing.T) {
	now := newClock().now
	l := newLimiter(3, 10*time.Second)
	take := func(key string) bool { _, ok := l.take(key, now); return ok }
	for i := range 3 {
		if !take("a") {
			t.Errorf("%d of the burst refused", i)
		}
	}
	if wait, ok := l.take("a", now); ok || wait != 10*time.Second {
		t.Errorf("after the burst: %v, wait %s", ok, wait)
	}
	if !take("b") {
		t.Error("one key pays for another")
	}
	now = now.Add(4 * time.Second)
	if wait, ok := l.take("a", now); ok || wait != 6*time.Second {
		t.Errorf("after 4 s: %v, wait %s", ok, wait)
	}
	now = now.Add(6 * time.Second)
	if !take("a") || take("a") {
		t.Error("after an interval: want one")
	}
	now = now.Add(time.Hour)
	for i := range 4 {
		if got, want := take("a"), i < 3; got != want {
			t.Errorf("after an hour, %d: %v", i, got)
		}
	}
	// A clock that jumps back must not lock anybody out for longer than the interval.
	now = now.Add(-time.Hour)
	if wait, _ := l.take("a", now); wait > 10*time.Second {
		t.Errorf("wait %s", wait)
	}
}

// TestLimiterForgets: strangers cannot make it grow without bound.
func TestLimiterForgets(t *testing.T) {
	now := newClock().now
	l := newLimiter(1, time.Minute)
	for i := range 2*maxBuckets + 5 {
		l.take(strconv.Itoa(i), now)
		if len(l.buckets) > maxBuckets {
			t.Fatalf("%d buckets", len(l.buckets))
		}
	}
	l = newLimiter(1, time.Minute)
	l.take("busy", now.Add(time.Hour))
	for i := range maxBuckets - 1 {
		l.take(strconv.Itoa(i), now)
	}
	now = now.Add(time.Hour)
	l.take("new", now)
	if _, ok := l.take("busy", now); ok {
		t.Error("a busy key was forgotten while idle ones could be")
	}
}
