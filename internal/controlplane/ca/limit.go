// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package ca

import (
	"math"
	"sync"
	"time"
)

// maxBuckets bounds the memory that strangers can make a limiter use.
const maxBuckets = 20_000

// limiter gives every key burst tokens at once and one more per interval. Safe for concurrent use.
type limiter struct {
	burst    float64
	interval time.Duration

	mu      sync.Mutex // guards buckets
	buckets map[string]bucket
}

// bucket holds tokens as they were at a time; they grow with it.
type bucket struct {
	tokens float64
	at     time.Time
}

func newLimiter(burst int, interval time.Duration) *limiter {
	return &limiter{burst: float64(burst), interval: interval, buckets: map[string]bucket{}}
}

// take takes a token, or says how long until there is one.
func (l *limiter) take(key string, now time.Time) (wait time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.buckets[key]
	if !known {
		if len(l.buckets) >= maxBuckets {
			l.sweep(now)
		}
		b = bucket{tokens: l.burst, at: now}
	}
	b = l.grow(b, now)
	if b.tokens < 1 {
		l.buckets[key] = b
		return time.Duration(math.Ceil((1 - b.tokens) * float64(l.interval))), false
	}
	b.tokens--
	l.buckets[key] = b
	return 0, true
}

func (l *limiter) grow(b bucket, now time.Time) bucket {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(l.burst, b.tokens+float64(d)/float64(l.interval))
		b.at = now
	}
	return b
}

// sweep forgets full buckets, which a new one equals. If none is full, all are forgotten: more keys
// than maxBuckets are active, and a fresh start costs less than refusing newcomers.
func (l *limiter) sweep(now time.Time) {
	for k, b := range l.buckets {
		if l.grow(b, now).tokens >= l.burst {
			delete(l.buckets, k)
		}
	}
	if len(l.buckets) >= maxBuckets {
		l.buckets = map[string]bucket{}
	}
}
