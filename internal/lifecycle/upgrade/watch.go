// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"slices"
	"time"
)

// Clock is what time it is, for somebody who may have been away. Nothing is held to have failed for time in which it was
// not watched.
type Clock struct {
	Now time.Time
	// Watching is since when the cluster has been watched; the zero value is always.
	Watching time.Time
	// Gaps are when it could not be seen meanwhile.
	Gaps []Gap
}

// Gap is a time in which a replica of the control plane, or the API server, did not answer.
type Gap struct{ From, To time.Time }

// watched is for how long something that began at t could be seen.
func (c Clock) watched(t time.Time) time.Duration {
	if t.Before(c.Watching) {
		t = c.Watching
	}
	seen := c.Now.Sub(t)
	for _, g := range c.Gaps {
		if g.From.Before(t) {
			g.From = t
		}
		if g.To.After(g.From) {
			seen -= g.To.Sub(g.From)
		}
	}
	return seen
}

// from is the clock of a phase that began at since: what is older is as old as the phase.
func (c Clock) from(since time.Time) Clock {
	if since.After(c.Watching) {
		c.Watching = since
	}
	return c
}

// mostGaps is how many gaps a Watch remembers. With more, the oldest two are one of the length of both.
const mostGaps = 64

// Watch is what the operator remembers of when it could see the cluster. The zero value begins with the first Look.
// It is not safe for concurrent use.
type Watch struct {
	began, last, blind time.Time // blind: since when nothing is seen; zero: something is
	gaps               []Gap
}

// Look notes a round in which all could be seen, or not.
func (w *Watch) Look(now time.Time, complete bool) Clock {
	if w.began.IsZero() {
		w.began, w.last = now, now
	}
	switch {
	case !complete && w.blind.IsZero():
		w.blind = w.last
	case complete && !w.blind.IsZero():
		w.gaps = append(w.gaps, Gap{w.blind, now})
		w.blind = time.Time{}
		if len(w.gaps) > mostGaps {
			a, b := w.gaps[0], w.gaps[1]
			w.gaps = append([]Gap{{a.From, b.To.Add(a.To.Sub(b.From))}}, w.gaps[2:]...)
		}
	}
	if complete {
		w.last = now
	}
	return Clock{Now: now, Watching: w.began, Gaps: slices.Clone(w.gaps)}
}
