// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gate

import "math"

// chance is how likely it may be that a wave in which nothing has changed fails all the same. The
// comparisons of its workloads share it. certain says the same in standard deviations of a normal
// distribution.
const (
	chance  = 0.001
	certain = 3.09
)

// pool is the traffic of several proxies.
type pool struct {
	requests, failures uint64
	p50, p99           float64 // ms, each proxy's weighted by its requests
}

// percent of the requests that failed.
func (p pool) percent() float64 {
	if p.requests == 0 {
		return 0
	}
	return 100 * float64(p.failures) / float64(p.requests)
}

// worse says whether failures are more frequent in a than in b and that is not chance: Fisher's exact
// test, one-sided. Given as many failures as there were in both, it is the likelihood that so many or
// more of them fell into a; that must be below level. Tests that rest on a normal distribution see too much in a few failures.
func worse(a, b pool, level float64) bool {
	na, nb := float64(a.requests), float64(b.requests)
	failures, got := float64(a.failures+b.failures), float64(a.failures)
	if na == 0 || nb == 0 || got*nb <= float64(b.failures)*na {
		return false
	}
	// The terms of the hypergeometric distribution from got upwards, each made of the one before. They
	// decrease, for got is above the mean.
	term := math.Exp(choose(na, got) + choose(nb, failures-got) - choose(na+nb, failures))
	sum := 0.0
	for k := got; k <= min(na, failures) && term > 1e-9*level; k++ {
		if sum += term; sum >= level {
			return false
		}
		term *= (na - k) / (k + 1) * (failures - k) / (nb - failures + k + 1)
	}
	return true
}

// choose is the logarithm of the number of ways to choose k of n.
func choose(n, k float64) float64 {
	of := func(x float64) float64 { v, _ := math.Lgamma(x + 1); return v }
	return of(n) - of(k) - of(n-k)
}

// pair is one workload's traffic: in the replaced proxies and in those it is compared with.
type pair struct{ a, b pool }

// excess adds up the failures of the replaced proxies, and how many there would have been had each
// workload failed as often as in what it is compared with. Only workloads that can be compared count.
func excess(pairs []pair) (requests, got, expected float64) {
	for _, p := range pairs {
		if p.b.requests > 0 {
			n := float64(p.a.requests)
			requests, got, expected = requests+n, got+float64(p.a.failures), expected+n*p.b.percent()/100
		}
	}
	return requests, got, expected
}

// worseTogether is the Cochran-Mantel-Haenszel test, one-sided and with the correction for continuity:
// whether failures are more frequent in the replaced proxies within the workloads. A sum over all
// workloads would not do, for the replaced proxies may serve more of those that fail anyway.
func worseTogether(pairs []pair) bool {
	surplus, variance := 0.0, 0.0
	for _, p := range pairs {
		a, b := float64(p.a.requests), float64(p.b.requests)
		n, failures := a+b, float64(p.a.failures+p.b.failures)
		if a == 0 || b == 0 {
			continue
		}
		surplus += float64(p.a.failures) - a*failures/n
		variance += a * b * failures * (n - failures) / (n * n * (n - 1))
	}
	return surplus-0.5 > certain*math.Sqrt(variance)
}
