// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package tally

import (
	"math"
	"net/netip"
	"slices"
	"sort"
	"time"
)

// Sample is what an Envoy has counted since it started, of the requests that are of interest. The zero
// value is that of an Envoy that has just started.
type Sample struct {
	// Begun counts requests that came, Active are those that have not ended.
	Begun, Active uint64
	// Headed counts the beginnings of answers, informational ones (1xx) among them.
	Headed uint64
	// Answered counts answers with a status of 200 to 599, Errors those of 500 to 599.
	Answered, Errors uint64
	// Times is how long requests took that have ended. Envoy brings it up to date every few seconds, so
	// it may be behind the counters.
	Times Histogram
	// Plaintext is what came lately without mutual TLS, each address once. A Window does not look at it.
	Plaintext []Source
}

// Source is an address, and how many requests and connections came from it.
type Source struct {
	Addr  netip.Addr
	Count uint64
}

// Histogram is sorted by Low. It is never changed once made.
type Histogram []Bin

// Bin counts durations from Low to Low+Width, in milliseconds.
type Bin struct {
	Low, Width float64
	Count      uint64
}

// Figures are what happened in a window.
type Figures struct {
	// Window is how long it was.
	Window time.Duration
	// Requests were answered or broken off; Failures of them had a status of 500 to 599 or none.
	Requests, Failures uint64
	// P50 and P99 are percentiles of the durations, in milliseconds; 0 without requests.
	P50, P99 float64
}

// Window looks back over samples. The zero value has a length of 0 and takes the first sample as the
// beginning; see Begin. It is not safe for concurrent use.
type Window struct {
	// Length is the longest time to look back.
	Length time.Duration

	points []point // oldest first
	lack   int64   // of the last sample
}

type point struct {
	at     time.Time
	sample Sample
	// broken counts requests that ended without an answer, as far as that is certain.
	broken uint64
}

// Begin forgets everything: an Envoy starts now, with all its counters at 0.
func (w *Window) Begin(now time.Time) {
	w.points, w.lack = []point{{at: now}}, 0
}

// Add takes a sample. If a counter has gone back, another Envoy counts: the window begins with this sample.
func (w *Window) Add(now time.Time, s Sample) {
	lack := int64(s.Begun) - int64(s.Active) - int64(s.Headed) //nolint:gosec // counters of requests fit
	p := point{at: now, sample: s}
	if n := len(w.points); n > 0 && !s.before(w.points[n-1].sample) {
		// An answer that has begun and not ended is in Headed and in Active. So lack is the number of
		// requests that broke off, less the answers that are under way, and never above the truth but
		// for requests that came while the counters were read one after the other: hence the lesser of
		// two looks. The greatest so far can be relied upon.
		p.broken = w.points[n-1].broken
		if sure := min(lack, w.lack); sure > 0 {
			p.broken = max(p.broken, uint64(sure))
		}
	} else {
		w.points = nil
		p.broken = uint64(max(lack, 0))
	}
	w.lack = lack
	w.points = append(w.points, p)
	// The oldest point is the beginning of the window: none that is older than its length.
	old := 0
	for old < len(w.points)-1 && now.Sub(w.points[old].at) > w.Length {
		old++
	}
	w.points = slices.Delete(w.points, 0, old)
}

// before tells whether s has counted less than t.
func (s Sample) before(t Sample) bool {
	return s.Begun < t.Begun || s.Headed < t.Headed || s.Answered < t.Answered || s.Errors < t.Errors || s.Times.count() < t.Times.count()
}

// Figures are those of the window that ends with the last sample.
func (w *Window) Figures() Figures {
	if len(w.points) == 0 {
		return Figures{}
	}
	first, last := w.points[0], w.points[len(w.points)-1]
	broken := last.broken - first.broken
	times := last.sample.Times.minus(first.sample.Times)
	return Figures{
		Window:   last.at.Sub(first.at),
		Requests: last.sample.Answered - first.sample.Answered + broken,
		Failures: last.sample.Errors - first.sample.Errors + broken,
		P50:      times.percentile(50),
		P99:      times.percentile(99),
	}
}

// Merge adds histograms up.
func Merge(all ...Histogram) Histogram {
	bins := slices.Concat(all...)
	slices.SortStableFunc(bins, func(a, b Bin) int { return order(a.Low, b.Low) })
	var out Histogram
	for _, b := range bins {
		if n := len(out); n > 0 && out[n-1].Low == b.Low { //nolint:floatcmp // the same bin has the same bounds
			out[n-1].Count += b.Count
			continue
		}
		out = append(out, b)
	}
	return out
}

func order(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// minus is what h has more than an earlier state of it.
func (h Histogram) minus(earlier Histogram) Histogram {
	out := slices.Clone(h)
	for _, b := range earlier {
		i := sort.Search(len(out), func(i int) bool { return out[i].Low >= b.Low })
		if i < len(out) && out[i].Low <= b.Low {
			out[i].Count -= min(b.Count, out[i].Count)
		}
	}
	return out
}

func (h Histogram) count() uint64 {
	n := uint64(0)
	for _, b := range h {
		n += b.Count
	}
	return n
}

// percentile finds the duration that p percent of all do not exceed, taking those in a bin as spread
// evenly over it. 0 if there are none.
func (h Histogram) percentile(p float64) float64 {
	left := p / 100 * float64(h.count())
	for _, b := range h {
		if n := float64(b.Count); n > 0 {
			if left <= n {
				return round(b.Low + b.Width*left/n)
			}
			left -= n
		}
	}
	return 0
}

// round keeps a microsecond's precision, more than the bins have.
func round(ms float64) float64 { return math.Round(ms*1000) / 1000 }
