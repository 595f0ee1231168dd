// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gate

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
)

// slack is by how many milliseconds latency may grow whatever the percentage: from 1 ms to 3 ms is what
// a busy node does to a request, not a release.
const slack = 5.0

// resolution is how many milliseconds Envoy tells apart: a latency of 0 is one of less than that, and a
// percentage of nothing would be nothing.
const resolution = 1.0

// minForLatency is how many requests a 99th percentile must rest upon: of 200 it is the second slowest,
// of fewer the slowest, which says nothing.
const minForLatency = 200

// minForMedian is how many requests a median must rest upon. It needs fewer, and a slow proxy gets few:
// its clients' proxies prefer the others.
const minForMedian = 50

// maxClaim bounds what a single proxy can claim to have seen, so that sums stay numbers.
const maxClaim = 1 << 30

// What Gates say by default, for those that come without the API server's defaults.
const (
	defaultMinRequests        = 20
	defaultMaxFailurePercent  = 1
	defaultMaxSlowdownPercent = 100
)

// maxShown is how many problems a message names.
const maxShown = 3

// Judge compares the replaced proxies with those of the same workloads that are still to be replaced.
// The message has the figures and is the same for any order of the proxies.
//
// A configuration that a replaced proxy refused, and an Envoy that ended by itself, fail at once,
// without any traffic. A workload of which nothing is left to compare with passes by its own figures
// or not at all: it is never blamed, for it may have failed before. JudgeSince can tell.
func Judge(g v1alpha1.Gates, replaced, others []upgrade.Seen) (v1alpha1.GateVerdict, string) {
	return JudgeSince(g, replaced, others, nil)
}

// JudgeSince is Judge with what proxies of the workloads reported before they were replaced. It stands
// in where the proxies that are left have seen too little.
func JudgeSince(g v1alpha1.Gates, replaced, others, before []upgrade.Seen) (v1alpha1.GateVerdict, string) {
	if problems := broken(replaced); len(problems) > 0 {
		return v1alpha1.GateFailed, list(problems, "; ", "; and")
	}
	now, peers, past := pools(replaced), pools(others), pools(before)
	l := limitsOf(g)
	l.level = chance / float64(max(len(now), 1))
	var failed, open []string
	var seen, judged, with pool
	var pairs []pair
	for _, name := range slices.Sorted(maps.Keys(now)) {
		a, b, whose := now[name], peers[name], "in the others"
		if b.requests < l.requests && past[name].requests >= l.requests {
			b, whose = past[name], "before"
		}
		seen = seen.plus(a)
		problems := l.compare(name, a, b, whose)
		failed = append(failed, problems...)
		if b.requests < l.requests && a.percent() > l.points && len(problems) == 0 {
			open = append(open, fmt.Sprintf("%s (%.1f %% of %s failed)", name, a.percent(), requests(a.requests)))
			continue
		}
		judged, with, pairs = judged.plus(a), with.plus(b), append(pairs, pair{a, b})
	}
	if len(failed) == 0 {
		failed = l.together(pairs)
	}
	switch {
	case len(replaced) == 0:
		return v1alpha1.GateNoEvidence, "no replaced proxy has reported"
	case seen.requests < l.requests:
		return v1alpha1.GateNoEvidence, fmt.Sprintf("the replaced proxies have seen %s of which %s failed; %s are needed", requests(seen.requests), number(seen.failures), number(l.requests))
	case len(failed) > 0:
		return v1alpha1.GateFailed, list(failed, "; ", "; and")
	case judged.requests < l.requests:
		return v1alpha1.GateNoEvidence, "nothing to compare with: too few requests in other proxies of " + list(open, ", ", " and")
	}
	message := fmt.Sprintf("%.1f %% of %s failed in the replaced proxies, ", judged.percent(), requests(judged.requests))
	if with.requests > 0 {
		message += fmt.Sprintf("%.1f %% of %s in those they are compared with", with.percent(), number(with.requests))
	} else {
		message += "there are no others to compare with"
	}
	if len(open) > 0 {
		message += "; too few requests in other proxies to judge " + list(open, ", ", " and")
	}
	return v1alpha1.GatePassed, message
}

// broken is what is wrong whatever the traffic.
func broken(replaced []upgrade.Seen) []string {
	sorted := slices.SortedFunc(slices.Values(replaced), func(a, b upgrade.Seen) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Pod, b.Pod), cmp.Compare(a.Slot, b.Slot))
	})
	var out []string
	for _, p := range sorted {
		if p.Rejected > 0 {
			words := ""
			if len(p.Nacks) > 0 {
				words = ": " + slices.Min(p.Nacks)
			}
			out = append(out, fmt.Sprintf("the proxy of pod %s/%s rejects %s of its resources%s", p.Namespace, p.Pod, number(uint64(p.Rejected)), words))
		}
		if p.Restarts > 0 {
			times := "once"
			if p.Restarts > 1 {
				times = number(p.Restarts) + " times"
			}
			out = append(out, fmt.Sprintf("Envoy ended by itself %s in pod %s/%s", times, p.Namespace, p.Pod))
		}
	}
	return out
}

// limits are the gates' as numbers.
type limits struct {
	requests         uint64
	points, slowdown float64 // percentage points of failures, percent of latency
	level            float64 // see worse
}

func limitsOf(g v1alpha1.Gates) limits {
	pick := func(v *int32, otherwise float64) float64 {
		if v == nil {
			return otherwise
		}
		return float64(*v)
	}
	return limits{
		requests: uint64(max(pick(g.MinRequests, defaultMinRequests), 1)),
		points:   pick(g.MaxFailurePercent, defaultMaxFailurePercent),
		slowdown: pick(g.MaxSlowdownPercent, defaultMaxSlowdownPercent),
	}
}

// compare says what is worse in the replaced proxies (a) of a workload.
func (l limits) compare(name string, a, b pool, whose string) (problems []string) {
	if a.percent()-b.percent() > l.points && worse(a, b, l.level) {
		problems = append(problems, fmt.Sprintf("%s: %.1f %% of %s failed in the replaced proxies, %.1f %% of %s %s",
			name, a.percent(), requests(a.requests), b.percent(), number(b.requests), whose))
	}
	slower := func(enough uint64, now, then float64) bool {
		enough = max(enough, l.requests)
		return a.requests >= enough && b.requests >= enough && now > max(then, resolution)*(1+l.slowdown/100) && now > then+slack
	}
	words := "%s: %s of the requests took up to %.1f ms in the replaced proxies, %.1f ms %s"
	switch {
	case slower(minForLatency, a.p99, b.p99):
		problems = append(problems, fmt.Sprintf(words, name, "99 %", a.p99, b.p99, whose))
	case slower(minForMedian, a.p50, b.p50):
		problems = append(problems, fmt.Sprintf(words, name, "half", a.p50, b.p50, whose))
	}
	return problems
}

// together says whether all workloads fail more often, though none of them does so for sure.
func (l limits) together(pairs []pair) []string {
	n, got, expected := excess(pairs)
	if n == 0 || 100*(got-expected)/n <= l.points || !worseTogether(pairs) {
		return nil
	}
	return []string{fmt.Sprintf("all workloads together: %.1f %% of %s failed in the replaced proxies, %.1f %% would have in the others",
		100*got/n, requests(uint64(n)), 100*expected/n)}
}

// pools adds up the proxies of each workload.
func pools(all []upgrade.Seen) map[string]pool {
	// In one order: floating-point sums depend on it.
	sorted := slices.SortedFunc(slices.Values(all), func(a, b upgrade.Seen) int {
		return cmp.Or(cmp.Compare(a.Workload, b.Workload), cmp.Compare(a.Requests, b.Requests), cmp.Compare(a.P99, b.P99), cmp.Compare(a.P50, b.P50))
	})
	out := map[string]pool{}
	for _, p := range sorted {
		n := min(p.Requests, maxClaim)
		out[p.Workload] = out[p.Workload].plus(pool{n, min(p.Failures, n), max(p.P50, 0), max(p.P99, 0)})
	}
	return out
}

func (p pool) plus(q pool) pool {
	sum := pool{requests: p.requests + q.requests, failures: p.failures + q.failures}
	if sum.requests > 0 {
		sum.p50 = (p.p50*float64(p.requests) + q.p50*float64(q.requests)) / float64(sum.requests)
		sum.p99 = (p.p99*float64(p.requests) + q.p99*float64(q.requests)) / float64(sum.requests)
	}
	return sum
}

// list joins the first few.
func list(all []string, sep, and string) string {
	if more := len(all) - maxShown; more > 0 {
		return fmt.Sprintf("%s%s %d more", strings.Join(all[:maxShown], sep), and, more)
	}
	return strings.Join(all, sep)
}

func requests(n uint64) string {
	if n == 1 {
		return "1 request"
	}
	return number(n) + " requests"
}

// number writes thousands apart: 1,030.
func number(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
