// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gate

import (
	"fmt"
	"math/big"
	"testing"
	"time"
)

// tail is the likelihood that worse compares with chance, in whole numbers.
func tail(a, b pool) *big.Rat {
	choose := func(n, k uint64) *big.Int { return new(big.Int).Binomial(int64(n), int64(k)) }
	failures := a.failures + b.failures
	sum := new(big.Int)
	for k := a.failures; k <= min(a.requests, failures); k++ {
		sum.Add(sum, new(big.Int).Mul(choose(a.requests, k), choose(b.requests, failures-k)))
	}
	return new(big.Rat).SetFrac(sum, choose(a.requests+b.requests, failures))
}

// TestWorse compares with whole numbers, for all small tables.
func TestWorse(t *testing.T) {
	limit := new(big.Rat).SetFloat64(chance)
	yes := 0
	for _, n := range [][2]uint64{{1, 1}, {3, 50}, {10, 10}, {12, 7}, {30, 4}, {25, 25}, {40, 15}} {
		for fa := range n[0] + 1 {
			for fb := range n[1] + 1 {
				a, b := pool{requests: n[0], failures: fa}, pool{requests: n[1], failures: fb}
				want := a.percent() > b.percent() && tail(a, b).Cmp(limit) < 0
				if want {
					yes++
				}
				if got := worse(a, b, chance); got != want {
					p, _ := tail(a, b).Float64()
					t.Errorf("%d of %d against %d of %d: %v, but the likelihood is %v", fa, n[0], fb, n[1], got, p)
				}
			}
		}
	}
	if yes < 50 {
		t.Errorf("only %d differences were certain", yes)
	}
}

// TestWorseOfMany: large numbers neither take long nor lose their precision.
func TestWorseOfMany(t *testing.T) {
	for _, c := range []struct {
		a, b pool
		want bool
	}{
		{pool{requests: 1 << 30, failures: 1 << 29}, pool{requests: 1 << 30, failures: 1 << 29}, false},
		{pool{requests: 1 << 30, failures: 1<<29 + 1<<17}, pool{requests: 1 << 30, failures: 1 << 29}, true},
		{pool{requests: 1 << 30, failures: 1<<29 + 1<<12}, pool{requests: 1 << 30, failures: 1 << 29}, false},
		{pool{requests: 1 << 40, failures: 1 << 40}, pool{requests: 1 << 40, failures: 0}, true},
		{pool{requests: 600000, failures: 40}, pool{requests: 600000, failures: 0}, true},
		{pool{requests: 0, failures: 0}, pool{requests: 600000, failures: 0}, false},
		{pool{requests: 600000, failures: 600000}, pool{requests: 0, failures: 0}, false},
	} {
		began := time.Now()
		if got := worse(c.a, c.b, chance); got != c.want {
			t.Errorf("%+v against %+v: %v", c.a, c.b, got)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("%+v against %+v took %v", c.a, c.b, d)
		}
	}
}

// TestWorseTogether has the figures of a textbook's kind: in both workloads failures are as frequent in
// the replaced proxies as in the others, but those serve more of the workload that fails.
func TestWorseTogether(t *testing.T) {
	fails, works := pair{pool{requests: 900, failures: 450}, pool{requests: 100, failures: 50}}, pair{pool{requests: 100, failures: 0}, pool{requests: 900, failures: 0}}
	if worseTogether([]pair{fails, works}) {
		t.Error("the mixture of workloads counts as a difference")
	}
	var many []pair
	for i := range 5 {
		many = append(many, pair{pool{requests: 40, failures: 3}, pool{requests: 40, failures: 0}})
		if got, want := worseTogether(many), i >= 3; got != want {
			t.Errorf("3 of 40 against 0 of 40 in %d workloads: %v", i+1, got)
		}
	}
	if n, got, expected := excess(append(many, pair{pool{requests: 1000, failures: 9}, pool{}})); fmt.Sprint(n, got, expected) != "200 15 0" {
		t.Errorf("excess: %v %v %v", n, got, expected)
	}
}
