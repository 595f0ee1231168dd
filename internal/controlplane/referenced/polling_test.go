// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package referenced

import (
	"fmt"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/source"
)

// late is a rig with n references of a Gateway in namespace a, and one of a Gateway in namespace b, all of which were
// answered by answer.
func late(t *testing.T, n int, answer func(r *rig, ref Ref)) *rig {
	r := newRig(t)
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("c%05d", i))
	}
	r.take()
	r.take(r.gateway("a", names...), r.gateway("b", "one"))
	for range 2 { // again when they are no longer waited for
		for ref, ok := r.l.next(); ok; ref, ok = r.l.next() {
			answer(r, ref)
		}
		r.after(hold)
	}
	return r
}

func otherType(r *rig, ref Ref) {
	r.answer(ref, source.TLS{Problem: "its type is wrong", OtherType: true}, "5")
}

func refusal(r *rig, ref Ref) {
	r.got(r.l.done(found{ref: ref, object: "refused", err: errRead}, r.now))
}

// unwatchedTLS is the answer where Secrets may not be watched.
func unwatchedTLS(r *rig, ref Ref) { r.answer(ref, "1", "5") }

// TestPollingRate: what is read again without a change of it is read at a bounded rate, however much of it there is.
// All is read in the end, a namespace with one reference waits for no round of another, and a change waits for nothing.
func TestPollingRate(t *testing.T) {
	for name, answer := range map[string]func(*rig, Ref){"of another type": otherType, "refused": refusal, "not watched": unwatchedTLS} {
		t.Run(name, func(t *testing.T) {
			const n = 5_000
			r := late(t, n, answer)
			reads, second, most := map[Ref]int{}, map[int64]int{}, 0
			last, gap := r.now, time.Duration(0)
			r.l.changed(secret("a", "c00000"), "6")
			if ref, ok := r.l.next(); !ok || ref.Key.Name != "c00000" {
				t.Errorf("a Secret that has changed is not read at once, but %v", ref)
			}
			r.answer(secret("a", "c00000"), "2", "6")
			for began := r.now; r.now.Sub(began) < 2*n/pollingRate*time.Second; {
				if name == "not watched" {
					r.l.unwatched(source.TLSSecret, r.now)
				}
				// The Stage calls at this time; a watch that is refused is tried again in the meantime.
				if at := r.l.wake(); !at.IsZero() && at.Before(r.now.Add(time.Second)) {
					r.after(max(at.Sub(r.now), 0))
				} else {
					r.after(time.Second)
				}
				for ref, ok := r.l.next(); ok; ref, ok = r.l.next() {
					reads[ref]++
					at := r.now.Unix()
					second[at]++
					most = max(most, second[at])
					if ref.Key.Namespace == "b" {
						gap, last = max(gap, r.now.Sub(last)), r.now
					}
					answer(r, ref)
				}
			}
			if most > pollingRate+1 {
				t.Errorf("%d reads in a second", most)
			}
			if len(reads) < n {
				t.Errorf("%d of %d were read again", len(reads), n)
			}
			if reads[secret("b", "one")] < 2 || gap > polling+2*time.Second {
				t.Errorf("the Secret of the other namespace was read %d times, with %v between two reads", reads[secret("b", "one")], gap)
			}
		})
	}
}

// TestCostOfLateReferences: what a round costs grows with the number of references that are read again, and not with
// its square.
func TestCostOfLateReferences(t *testing.T) {
	const n = 20_000
	r := late(t, n, otherType)
	reads := 0
	for reads <= n {
		r.after(max(r.l.wake().Sub(r.now), 0))
		for ref, ok := r.l.next(); ok; ref, ok = r.l.next() {
			reads++
			otherType(r, ref)
			r.l.wake()
		}
	}
	if got := r.l.late.Comparisons(); got > 200*n {
		t.Errorf("%d comparisons for %d references", got, n)
	}
}

// TestRetriesWhileWaiting: what an object waits for is not subject to the rate of polling. An API server that has just started
// refuses all for a moment.
func TestRetriesWhileWaiting(t *testing.T) {
	r := newRig(t)
	var names []string
	for i := range 1000 {
		names = append(names, fmt.Sprintf("c%05d", i))
	}
	r.take(r.gateway("a", names...))
	for ref, ok := r.l.next(); ok; ref, ok = r.l.next() {
		refusal(r, ref)
	}
	r.after(firstRetry)
	for ref, ok := r.l.next(); ok; ref, ok = r.l.next() {
		r.answer(ref, "1", "5")
	}
	r.same("batches", 1, r.batches)
	r.same("passed on", len(names)+1, len(r.passed))
}
