// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package figures

import (
	"strconv"
	"strings"
)

// Sum adds up the series of a metric in a scrape in Prometheus' text format: all that have each of
// these labels, written as name="value". ok is false where there is none.
func Sum(scrape, metric string, labels ...string) (sum float64, ok bool) {
	for line := range strings.Lines(scrape) {
		rest, found := strings.CutPrefix(line, metric)
		if !found || !strings.HasPrefix(rest, "{") && !strings.HasPrefix(rest, " ") {
			continue // another metric, whose name begins the same
		}
		// A label's value may hold spaces and braces, but nothing after the last brace does.
		end := strings.LastIndexByte(rest, '}') + 1
		fields := strings.Fields(rest[end:])
		if len(fields) == 0 || !hasAll(rest[:end], labels) {
			continue
		}
		v, err := strconv.ParseFloat(fields[0], 64) // a time may follow
		if err != nil {
			continue
		}
		sum += v
		ok = true
	}
	return sum, ok
}

// hasAll looks for labels in {a="b",c="d"}: each begins after the brace or a comma.
func hasAll(all string, labels []string) bool {
	for _, l := range labels {
		if !strings.Contains(all, "{"+l) && !strings.Contains(all, ","+l) {
			return false
		}
	}
	return true
}
