// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package connlimit

import (
	"net/netip"
	"time"
)

// Requests a second, and as many at once, of one client address and of all. A request costs the server about
// a tenth of a millisecond of processor time.
const (
	ratePerSource = 500
	rateOfAll     = 1500
	// maxSources is how many addresses have a count of their own. What is above has none until others are quiet.
	maxSources = 4096
)

// rates count requests. Not safe for concurrent use.
type rates struct {
	perSource, ofAll float64 // a second

	all     bucket
	sources map[netip.Prefix]*bucket
	swept   time.Time // when quiet sources were last forgotten: looking at all of them costs
}

// bucket says how much of a rate is used: what was used runs off with time. The zero value is empty.
type bucket struct {
	used float64
	at   time.Time
}

func (b *bucket) run(now time.Time, rate float64) {
	if d := now.Sub(b.at).Seconds(); d > 0 {
		b.used = max(0, b.used-d*rate)
	}
	b.at = now
}

// take reports whether a source may make another request, and counts it if so. When all together make too
// many, a source that makes few still may.
func (r *rates) take(source netip.Prefix, now time.Time) bool {
	b := r.of(source, now)
	b.run(now, r.perSource)
	r.all.run(now, r.ofAll)
	if b.used+1 > r.perSource || r.all.used+1 > r.ofAll && b.used+1 > r.perSource/10 {
		return false
	}
	b.used++
	r.all.used = min(r.all.used+1, r.ofAll)
	return true
}

// of returns the bucket of a source. Those that have run off are forgotten when there are too many.
func (r *rates) of(source netip.Prefix, now time.Time) *bucket {
	if b := r.sources[source]; b != nil {
		return b
	}
	if len(r.sources) >= maxSources && now.Sub(r.swept) >= time.Second {
		r.swept = now
		for s, b := range r.sources {
			if b.run(now, r.perSource); b.used == 0 {
				delete(r.sources, s)
			}
		}
	}
	b := &bucket{at: now}
	if len(r.sources) < maxSources {
		if r.sources == nil {
			r.sources = map[netip.Prefix]*bucket{}
		}
		r.sources[source] = b
	}
	return b
}
