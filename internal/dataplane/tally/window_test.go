// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package tally

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func at(s float64) time.Time {
	return time.Unix(1000, 0).Add(time.Duration(s * float64(time.Second)))
}

// answered is a sample of requests of which all but the failed ones were answered with 200, in 2 to 3 ms.
func answered(n, failed uint64) Sample {
	return Sample{Begun: n, Headed: n, Answered: n, Errors: failed, Times: Histogram{{2, 1, n}}}
}

func TestWindow(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*Window)
		want Figures
	}{
		"nothing known": {func(*Window) {}, Figures{}},
		"just started":  {func(w *Window) { w.Begin(at(0)) }, Figures{}},
		"from the start of Envoy": {func(w *Window) {
			w.Begin(at(0))
			w.Add(at(5), answered(100, 3))
		}, Figures{Window: 5 * time.Second, Requests: 100, Failures: 3, P50: 2.5, P99: 2.99}},
		"an Envoy that was there before": {func(w *Window) {
			w.Add(at(0), answered(1000, 500))
			w.Add(at(5), answered(1010, 500))
		}, Figures{Window: 5 * time.Second, Requests: 10, P50: 2.5, P99: 2.99}},
		"no more than a minute": {func(w *Window) {
			w.Begin(at(0))
			for s := 5.0; s <= 120; s += 5 {
				w.Add(at(s), answered(uint64(s), uint64(s)/10))
			}
		}, Figures{Window: time.Minute, Requests: 60, Failures: 6, P50: 2.5, P99: 2.99}},
		"a late tick makes it shorter, never longer": {func(w *Window) {
			w.Begin(at(0))
			w.Add(at(5), answered(50, 0))
			w.Add(at(60.1), answered(90, 0))
		}, Figures{Window: 55100 * time.Millisecond, Requests: 40, P50: 2.5, P99: 2.99}},
		"asleep for an hour": {func(w *Window) {
			w.Begin(at(0))
			w.Add(at(3600), answered(50, 0))
		}, Figures{}},
		"another Envoy that nobody told of": {func(w *Window) {
			w.Begin(at(0))
			w.Add(at(5), answered(100, 100))
			w.Add(at(10), answered(20, 0))
			w.Add(at(15), answered(30, 1))
		}, Figures{Window: 5 * time.Second, Requests: 10, Failures: 1, P50: 2.5, P99: 2.99}},
		"Envoy restarted": {func(w *Window) {
			w.Begin(at(0))
			w.Add(at(5), answered(100, 100))
			w.Begin(at(7))
			w.Add(at(10), answered(20, 2))
		}, Figures{Window: 3 * time.Second, Requests: 20, Failures: 2, P50: 2.5, P99: 2.99}},
		"broken off without an answer": {func(w *Window) {
			w.Begin(at(0))
			for s := 5.0; s <= 15; s += 5 {
				w.Add(at(s), Sample{Begun: 10, Active: 1, Headed: 7, Answered: 7})
			}
		}, Figures{Window: 15 * time.Second, Requests: 9, Failures: 2}},
		"streams that end are no failures": {func(w *Window) {
			w.Begin(at(0))
			w.Add(at(5), Sample{Begun: 50, Active: 50, Headed: 50, Answered: 50})
			w.Add(at(10), Sample{Begun: 50, Active: 0, Headed: 50, Answered: 50})
			w.Add(at(15), Sample{Begun: 50, Active: 0, Headed: 50, Answered: 50})
		}, Figures{Window: 15 * time.Second, Requests: 50}},
		"streams of an Envoy that was there before are none either": {func(w *Window) {
			w.Add(at(0), Sample{Begun: 50, Active: 50, Headed: 50, Answered: 50})
			w.Add(at(5), Sample{Begun: 50, Active: 0, Headed: 50, Answered: 50})
			w.Add(at(10), Sample{Begun: 50, Active: 0, Headed: 50, Answered: 50})
		}, Figures{Window: 10 * time.Second}},
		"counters read while requests came": {func(w *Window) {
			w.Begin(at(0))
			w.Add(at(5), Sample{Begun: 107, Active: 1, Headed: 99, Answered: 99})
			w.Add(at(10), Sample{Begun: 200, Headed: 200, Answered: 200})
		}, Figures{Window: 10 * time.Second, Requests: 200}},
	} {
		t.Run(name, func(t *testing.T) {
			w := Window{Length: time.Minute}
			c.do(&w)
			if d := cmp.Diff(c.want, w.Figures()); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	h := Histogram{{0, 0, 1}, {1, 0.1, 40}, {7, 0.1, 9}, {100, 10, 49}, {450, 10, 1}}
	for p, want := range map[float64]float64{1: 0, 50: 7.1, 99: 110, 100: 460, 75: 105.102} {
		if got := h.percentile(p); got != want {
			t.Errorf("P%v is %v, want %v", p, got, want)
		}
	}
	if got := (Histogram{}).percentile(99); got != 0 {
		t.Errorf("P99 of nothing is %v", got)
	}
}

// TestPercentileOfSamples compares with the sorted durations themselves.
func TestPercentileOfSamples(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // repeatable
	for range 200 {
		var all []float64
		var h Histogram
		for range 1 + r.IntN(300) {
			v := math.Floor(r.ExpFloat64() * 50)
			all = append(all, v)
			h = Merge(h, Histogram{{v, 1, 1}})
		}
		slices.Sort(all)
		for _, p := range []float64{50, 99} {
			exact := all[int(math.Ceil(p/100*float64(len(all))))-1]
			if got := h.percentile(p); got < exact || got > exact+1 {
				t.Fatalf("P%v is %v, want it in the bin from %v, of %v", p, got, exact, all)
			}
		}
	}
}

func TestMerge(t *testing.T) {
	a, b := Histogram{{1, 0.1, 3}, {20, 1, 1}}, Histogram{{0, 0, 2}, {20, 1, 4}}
	want := Histogram{{0, 0, 2}, {1, 0.1, 3}, {20, 1, 5}}
	if d := cmp.Diff(want, Merge(a, b)); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff(Histogram{{1, 0.1, 3}, {20, 1, 5}, {0, 0, 0}}, Merge(a, b).minus(Histogram{{0, 0, 2}}), cmp.Transformer("sorted", func(h Histogram) Histogram { return Merge(h) })); d != "" {
		t.Errorf("minus (-want +got):\n%s", d)
	}
}

// TestFailuresAreCertain plays requests of all kinds at random: whatever is looked at when, the window
// never tells of a failure that did not happen, and in the end, at rest, of every one.
func TestFailuresAreCertain(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // repeatable
		w := Window{Length: time.Hour}
		w.Begin(at(0))
		var s Sample
		headless, headed, failures := uint64(0), uint64(0), uint64(0)
		now := 0.0
		for range 400 {
			switch r.IntN(6) {
			case 0, 1:
				s.Begun, s.Active, headless = s.Begun+1, s.Active+1, headless+1
			case 2: // an answer begins
				if headless > 0 {
					headless, headed = headless-1, headed+1
					s.Headed, s.Answered = s.Headed+1, s.Answered+1
					if r.IntN(5) == 0 {
						s.Errors, failures = s.Errors+1, failures+1
					}
				}
			case 3: // and ends
				if headed > 0 {
					headed, s.Active = headed-1, s.Active-1
				}
			case 4:
				if headless > 0 && r.IntN(3) == 0 {
					headless, s.Active, failures = headless-1, s.Active-1, failures+1
				}
			case 5:
				now += 5
				w.Add(at(now), s)
				if f := w.Figures(); f.Failures > failures || f.Requests > s.Begun || f.Failures > f.Requests {
					t.Fatalf("seed %d: %+v of %d requests, %d failures", seed, f, s.Begun, failures)
				}
			}
		}
		s.Active -= headed
		w.Add(at(now+5), s)
		w.Add(at(now+10), s)
		if f := w.Figures(); f.Failures != failures || f.Requests != s.Begun-headless {
			t.Fatalf("seed %d: at rest %+v, want %d failures of %d", seed, f, failures, s.Begun-headless)
		}
	}
}
