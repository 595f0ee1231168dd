// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package load

import (
	"math"
	"sync"
	"time"

	"tulle.dev/tulle/test/apps/report"
)

// Summary is what a run, or the part of it until now, has seen. It is one line of JSON in the
// output of the load command.
type Summary struct {
	Target  string  `json:"target"`
	Seconds float64 `json:"seconds"`
	// Done marks the last summary of a run.
	Done   bool `json:"done"`
	Sent   int  `json:"sent"`
	OK     int  `json:"ok"`
	Failed int  `json:"failed"`
	// Statuses counts by HTTP status or gRPC code; requests without an answer are not in it.
	Statuses map[string]int `json:"statuses,omitempty"`
	// Versions counts answers by service, then version, over whole call trees.
	Versions map[string]map[string]int `json:"versions,omitempty"`
	// Callers counts, by service, the identity it saw; "" is a caller without one.
	Callers map[string]map[string]int `json:"callers,omitempty"`
	// Failures counts by reason; beyond maxReasons different ones they are counted as "other".
	Failures map[string]int `json:"failures,omitempty"`
	// Latencies in milliseconds, within 2 %, of successes.
	P50 float64 `json:"p50ms"`
	P99 float64 `json:"p99ms"`
	Max float64 `json:"maxms"`
	// LongestStall is the longest time in milliseconds between two successes (or the start and the first).
	LongestStall float64 `json:"longestStallms"`
}

// maxReasons bounds the memory of a run in which every failure looks different.
const maxReasons = 30

// tally adds up outcomes. Safe for concurrent use.
type tally struct {
	target string
	start  time.Time

	mu      sync.Mutex
	sum     Summary     // guarded by mu; maps are copied before they leave
	buckets map[int]int // guarded by mu; latency histogram, growing by 2 % per bucket
	last    time.Time   // guarded by mu; the last success
}

func newTally(target string, start time.Time) *tally {
	return &tally{
		target: target, start: start, last: start, buckets: map[int]int{},
		sum: Summary{
			Statuses: map[string]int{}, Failures: map[string]int{},
			Versions: map[string]map[string]int{}, Callers: map[string]map[string]int{},
		},
	}
}

func (t *tally) add(o outcome, began, ended time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.sum
	s.Sent++
	if o.status != "" {
		s.Statuses[o.status]++
	}
	if o.report != nil {
		o.report.Walk(func(r report.Report) {
			if r.Pod == "" {
				return // nobody answered for this service
			}
			count(s.Versions, r.Service, r.Version)
			count(s.Callers, r.Service, r.Caller)
		})
	}
	if o.failed != "" {
		s.Failed++
		if _, known := s.Failures[o.failed]; !known && len(s.Failures) >= maxReasons {
			o.failed = "other"
		}
		s.Failures[o.failed]++
		return
	}
	s.OK++
	took := ended.Sub(began)
	t.buckets[bucket(took)]++
	s.Max = max(s.Max, millis(took))
	if ended.After(t.last) {
		s.LongestStall = max(s.LongestStall, millis(ended.Sub(t.last)))
		t.last = ended
	}
}

func count(m map[string]map[string]int, a, b string) {
	if m[a] == nil {
		m[a] = map[string]int{}
	}
	m[a][b]++
}

// summary is what was seen until now. A stall that has not ended yet counts.
func (t *tally) summary(now time.Time, done bool) Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.sum
	s.Target, s.Done = t.target, done
	s.Seconds = now.Sub(t.start).Seconds()
	s.Statuses, s.Failures = clone(s.Statuses), clone(s.Failures)
	s.Versions, s.Callers = clone2(s.Versions), clone2(s.Callers)
	s.P50, s.P99 = t.quantile(0.50), t.quantile(0.99)
	s.LongestStall = max(s.LongestStall, millis(now.Sub(t.last)))
	return s
}

func clone(m map[string]int) map[string]int {
	out := make(map[string]int, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

func clone2(m map[string]map[string]int) map[string]map[string]int {
	out := make(map[string]map[string]int, len(m))
	for k, v := range m {
		out[k] = clone(v)
	}
	return out
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// growth is the ratio of neighbouring buckets of the histogram.
const growth = 1.02

func bucket(d time.Duration) int {
	return int(math.Log(max(float64(d.Microseconds()), 1)) / math.Log(growth))
}

// quantile returns milliseconds; 0 without successes. The caller holds mu.
func (t *tally) quantile(q float64) float64 {
	if t.sum.OK == 0 {
		return 0
	}
	want := int(math.Ceil(q * float64(t.sum.OK)))
	highest := 0
	for b := range t.buckets {
		highest = max(highest, b)
	}
	seen := 0
	for b := range highest + 1 {
		seen += t.buckets[b]
		if seen >= want {
			return math.Round(math.Pow(growth, float64(b)+0.5)) / 1000
		}
	}
	return t.sum.Max
}
