// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"strconv"
	"time"
)

// Bounds of how long a client waits for the application.
const (
	minPatience = 8 * time.Second // under Prometheus' default limit of 10 s
	maxPatience = 25 * time.Second
	// timeHeader has the time that Prometheus waits for an answer, in seconds.
	timeHeader = "X-Prometheus-Scrape-Timeout-Seconds"
	// margin is for the rest of a scrape.
	margin = 2 * time.Second
)

// patienceOf returns how long a client with that header waits for the application: as long as it says, less a margin,
// within bounds. Its header is about its own page only, see shared.
func patienceOf(header string) time.Duration {
	s, err := strconv.ParseFloat(header, 64)
	if err != nil || !(s > 0) {
		return minPatience
	}
	s = min(s, (maxPatience + margin).Seconds())
	return max(time.Duration(s*float64(time.Second))-margin, minPatience)
}
