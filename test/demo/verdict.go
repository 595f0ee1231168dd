// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"tulle.dev/tulle/test/load"
)

// result is what the traffic step noted.
type result struct {
	streams                      []*stream
	started, moved, taken, acked time.Time
	message                      string
}

// difference is a - b, without zeros.
func difference(a, b map[string]map[string]int) map[string]map[string]int {
	out := map[string]map[string]int{}
	for service, versions := range a {
		for version, n := range versions {
			if left := n - b[service][version]; left > 0 {
				if out[service] == nil {
					out[service] = map[string]int{}
				}
				out[service][version] = left
			}
		}
	}
	return out
}

// share is the part of v2 among v1 and v2.
type share struct{ v1, v2 int }

func (s share) n() int { return s.v1 + s.v2 }

func (s share) String() string {
	if s.n() == 0 {
		return "nothing measured"
	}
	return fmt.Sprintf("v1 %.1f %%, v2 %.1f %% of %d", 100*float64(s.v1)/float64(s.n()), 100*float64(s.v2)/float64(s.n()), s.n())
}

// short is "90/10", in percent.
func (s share) short() string {
	if s.n() == 0 {
		return "-"
	}
	v1 := math.Round(100 * float64(s.v1) / float64(s.n()))
	return fmt.Sprintf("%.0f/%.0f", v1, 100-v1)
}

// fits says whether so many of n may have fallen on v2 by chance when each does with probability
// p: within five standard deviations, which chance leaves once in two million times.
func (s share) fits(p float64) bool {
	n := float64(s.n())
	return n > 0 && math.Abs(float64(s.v2)-n*p) <= 5*math.Sqrt(n*p*(1-p))
}

// measured adds up the shares of all streams in a time.
func (r result) measured(from, to time.Time) share {
	var s share
	for _, st := range r.streams {
		v := st.between(from, to)[route]
		s.v1 += v["v1"]
		s.v2 += v["v2"]
	}
	return s
}

// callers joins who called whom over all streams.
func callers(sums []load.Summary) map[string][]string {
	sets := map[string]map[string]bool{}
	for _, s := range sums {
		for service, ids := range s.Callers {
			for id := range ids {
				if sets[service] == nil {
					sets[service] = map[string]bool{}
				}
				sets[service][id] = true
			}
		}
	}
	out := map[string][]string{}
	for service, set := range sets {
		out[service] = slices.Sorted(maps.Keys(set))
	}
	return out
}

// settle is left out on both sides of the change: summaries come twice a second, and a request
// under way belongs to neither side.
const settle = 2 * every

// conclude prints what was measured and returns what was wrong.
func (d *demo) conclude() error {
	r := d.result
	d.say.heading("What was measured")
	var sums []load.Summary
	var wrong []error
	for _, s := range r.streams {
		sum := s.last()
		sums = append(sums, sum)
		d.say.line("traffic %-20s %5d requests, %d failed, p50 %.1f ms, p99 %.1f ms, longest stall %.0f ms", s.name, sum.Sent, sum.Failed, sum.P50, sum.P99, sum.LongestStall)
		for reason, n := range sum.Failures {
			wrong = append(wrong, fmt.Errorf("%d requests %s failed: %s", n, s.name, reason))
		}
		if sum.Sent == 0 {
			wrong = append(wrong, fmt.Errorf("no request was sent %s", s.name))
		}
	}
	before := r.measured(r.started, r.moved)
	after := r.measured(r.acked.Add(settle), time.Now())
	d.say.line("split asked for 90/10:  %s", before)
	d.say.line("split asked for 50/50:  %s", after)
	d.say.line("from the API server having the route to the last proxy's acknowledgement: %s (%s)", r.acked.Sub(r.taken).Round(time.Millisecond), r.message)
	if !before.fits(0.10) {
		wrong = append(wrong, fmt.Errorf("before the change the split was %s, asked for was 90/10", before))
	}
	if !after.fits(0.50) {
		wrong = append(wrong, fmt.Errorf("after the change the split was %s, asked for was 50/50", after))
	}

	d.say.heading("Who called whom, as each server saw it proven by mutual TLS")
	for service, ids := range sortedPairs(callers(sums)) {
		for i, id := range ids {
			if id == "" {
				ids[i] = "(no identity)"
				wrong = append(wrong, fmt.Errorf("%s was called by somebody without an identity", service))
			}
		}
		d.say.line("%-8s <- %s", service, strings.Join(ids, ", "))
	}
	d.say.heading("What to look at next")
	d.say.line("bin/tulle status                              the mesh, its control plane, its proxies")
	d.say.line("bin/tulle proxy config -n shop POD routes     what a proxy really has (kubectl -n shop get pods)")
	d.say.line("kubectl -n shop get httproute reviews -o yaml which proxies have the route: condition tulle.dev/Programmed")
	d.say.line("config/samples/shop/split-50.yaml             change the weights, apply, and watch")
	if d.address != "" {
		d.say.line("%-45s the shop, through the Gateway", "curl http://"+d.address)
	}
	return errors.Join(wrong...)
}

// sortedPairs walks a map in the order of its keys.
func sortedPairs[V any](m map[string]V) func(func(string, V) bool) {
	return func(yield func(string, V) bool) {
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if !yield(k, m[k]) {
				return
			}
		}
	}
}
