// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package figures

import (
	"math/rand/v2"
	"testing"
	"time"
)

// upTo are the times 1 ms to n ms, in any order.
func upTo(n int) Times {
	var t Times
	for i := range n {
		t = append(t, time.Duration(i+1)*time.Millisecond)
	}
	rand.Shuffle(n, func(i, j int) { t[i], t[j] = t[j], t[i] })
	return t
}

// TestPercentile: the nearest rank, which is always a time that was measured.
func TestPercentile(t *testing.T) {
	for _, c := range []struct {
		n    int
		q    float64
		want int // in milliseconds
	}{
		{0, 0.5, 0},
		{1, 0.5, 1},
		{1, 0.99, 1},
		{2, 0.5, 1},
		{3, 0.5, 2},
		{10, 0.99, 10},
		{99, 0.99, 99},
		{100, 0.99, 99},
		{101, 0.99, 100},
		{200, 0.99, 198},
		{1000, 0.99, 990},
		{100, 0.29, 29}, // 0.29*100 is more than 29 in floating point
		{100, 0, 1},
		{100, 1, 100},
	} {
		if got := upTo(c.n).Percentile(c.q); got != time.Duration(c.want)*time.Millisecond {
			t.Errorf("%g of %d: %v, not %d ms", c.q, c.n, got, c.want)
		}
	}
	sorted := Times{3, 1, 2}
	if sorted.Max() != 3 || sorted[0] != 3 {
		t.Errorf("max %d, and the order is now %v", sorted.Max(), sorted)
	}
}

func TestNumbers(t *testing.T) {
	for f, want := range map[float64]string{0: "0", 0.004: "0.00", 0.421: "0.42", 0.996: "1.0", 4.21: "4.2", 9.96: "10", 42.1: "42", 4210.4: "4210", -3.14: "-3.1"} {
		if got := Number(f); got != want {
			t.Errorf("%g: %s, not %s", f, got, want)
		}
	}
	if got := Millis(1500 * time.Microsecond); got != "1.5" {
		t.Error(got)
	}
	if a, b, c := Ratio(13, 10), Ratio(1, 0), Ratio(-1, 4); a != "1.3x" || b != "-" || c != "-0.25x" {
		t.Error(a, b, c)
	}
}

// TestTable: columns stand under one another, whatever is in them.
func TestTable(t *testing.T) {
	table := Table{Head: []string{"what", "p50 ms", "n"}}
	table.Add("an edit", "4.2", "100")
	table.Add("größer|kleiner", "1")
	want := `| what            | p50 ms |   n |
| --------------- | -----: | --: |
| an edit         |    4.2 | 100 |
| größer\|kleiner |      1 |     |
`
	if got := table.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestSum(t *testing.T) {
	const scrape = `# HELP sent_total Things sent.
# TYPE sent_total counter
sent_total{type="a"} 3
sent_total{type="b } c",other="{"} 4.5 1700000000000
sent_total_more 100
process_cpu_seconds_total 1.5e+02
broken_total{x="
worse_total{a="b"} x
`
	for metric, want := range map[string]float64{"sent_total": 7.5, "process_cpu_seconds_total": 150, "sent_total_more": 100} {
		if got, ok := Sum(scrape, metric); !ok || got != want {
			t.Errorf("%s: %g, %v, not %g", metric, got, ok, want)
		}
	}
	for _, c := range []struct {
		labels []string
		want   float64
		ok     bool
	}{
		{[]string{`type="a"`}, 3, true},
		{[]string{`other="{"`}, 4.5, true},
		{[]string{`other="{"`, `type="a"`}, 0, false},
		{[]string{`ype="a"`}, 0, false},
	} {
		if got, ok := Sum(scrape, "sent_total", c.labels...); got != c.want || ok != c.ok {
			t.Errorf("%v: %g, %v", c.labels, got, ok)
		}
	}
	for _, metric := range []string{"sent", "absent_total", "broken_total", "worse_total"} {
		if got, ok := Sum(scrape, metric); ok {
			t.Errorf("%s: %g", metric, got)
		}
	}
}
