// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"testing"
	"time"
)

// TestUnsettled: a stream is settled once it has ACKed the current version of all it wants of a type,
// and not while it may still be about to say what it holds.
func TestUnsettled(t *testing.T) {
	b := newBench(t, Options{}, set(secrets, "trust", "1"), set(secrets, "other", "1"), set(clusters, "a", "1"))
	is := func(when string, want bool) {
		t.Helper()
		if got := !b.srv.Unsettled(secrets, 10*time.Second)[b.ss.id]; got != want {
			t.Errorf("%s: settled %v, want %v", when, got, want)
		}
	}
	is("just connected", false)
	b.clock = b.clock.Add(11 * time.Second)
	is("connected for long, and never asked", true)
	b.subscribe(secrets, "trust")
	is("asked", false)
	l := b.want("Secret trust=1")
	is("sent", false)
	b.ack(l...)
	is("ACKed", true)
	b.commit(set(secrets, "other", "2"))
	b.subscribe(clusters, "a")
	is("something else changed", true)
	b.commit(set(secrets, "trust", "2"))
	is("changed", false)
	l = b.want("Secret trust=2", "Cluster a=1")
	b.nack(l[0], "no")
	is("rejected", false)
	b.commit(set(secrets, "trust", "3"))
	b.ack(b.want("Secret trust=3")...)
	is("a later one taken", true)
}
