// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package figures

import (
	"math"
	"slices"
	"strconv"
	"time"
)

// Times are how long the same thing took, measured several times. The order means nothing.
type Times []time.Duration

// Percentile is the smallest of the times that at least a share q (0.99: 99 %) of them does not
// exceed; with fewer than a hundred times the 99th percentile is the longest. 0 without any.
func (t Times) Percentile(q float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(t))
	// The product of two fractions may lie a hair above a whole number, which is not the next rank.
	rank := int(math.Ceil(q*float64(len(t)) - 1e-9))
	return sorted[min(max(rank, 1), len(t))-1]
}

// Max is the longest; 0 without any.
func (t Times) Max() time.Duration { return t.Percentile(1) }

// Millis writes a time in milliseconds: "0.42", "4.2", "42", "4200".
func Millis(d time.Duration) string { return Number(float64(d) / float64(time.Millisecond)) }

// Number writes a figure with as many digits as anybody compares: two at least, and none behind the
// point from ten on.
func Number(f float64) string {
	digits := 0
	switch a := math.Abs(f); {
	case a == 0 || a >= 9.95:
	case a >= 0.995:
		digits = 1
	default:
		digits = 2
	}
	return strconv.FormatFloat(f, 'f', digits, 64)
}

// Ratio is how many times the base a figure is, "1.3x"; "-" where the base is nothing.
func Ratio(figure, base float64) string {
	if base <= 0 {
		return "-"
	}
	return Number(figure/base) + "x"
}
