// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// Bounds of how long the application may take.
const (
	minPatience = 8 * time.Second // under Prometheus' default limit of 10 s
	maxPatience = 25 * time.Second
	// timeHeader has the time that Prometheus waits for an answer, in seconds.
	timeHeader = "X-Prometheus-Scrape-Timeout-Seconds"
	// margin is for the rest of a scrape.
	margin = 2 * time.Second
)

// Patience is how long the application may take: as long as the last client waits, less a margin, within bounds. The zero
// value is the lower bound. Safe for concurrent use.
type Patience struct{ last atomic.Int64 }

// Handler takes note of how long clients wait, and passes their requests on.
func (p *Patience) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.last.Store(int64(patienceOf(r.Header.Get(timeHeader))))
		next.ServeHTTP(w, r)
	})
}

// Get returns how long the application may take.
func (p *Patience) Get() time.Duration { return max(time.Duration(p.last.Load()), minPatience) }

// patienceOf reads the header. The last client decides for all who share its page: one that waits for longer can make
// others give up where the application hangs, and one that waits for less can make others lack the application's part
// where it needs more than minPatience.
func patienceOf(header string) time.Duration {
	s, err := strconv.ParseFloat(header, 64)
	if err != nil || !(s > 0) {
		return minPatience
	}
	s = min(s, (maxPatience + margin).Seconds())
	return max(time.Duration(s*float64(time.Second))-margin, minPatience)
}
