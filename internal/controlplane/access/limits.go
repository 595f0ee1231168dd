// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package access

import (
	"net/netip"
	"sync"

	"k8s.io/client-go/util/flowcontrol"
)

// How many tokens of strangers are reviewed: for each address and for all of them.
const (
	perAddress, addressBurst = 1, 5   // a second
	overall, overallBurst    = 10, 20 // a second
	maxAddresses             = 1024
)

// limits bounds the reviews for callers that were never allowed. Safe for concurrent use.
type limits struct {
	all flowcontrol.RateLimiter

	mu sync.Mutex
	by map[netip.Addr]flowcontrol.RateLimiter // guarded by mu; at most maxAddresses
}

func newLimits() *limits {
	return &limits{all: flowcontrol.NewTokenBucketRateLimiter(overall, overallBurst), by: map[netip.Addr]flowcontrol.RateLimiter{}}
}

// take tells whether a token from this address may be reviewed now.
func (l *limits) take(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.by[a]
	if one == nil {
		if len(l.by) >= maxAddresses {
			l.by = map[netip.Addr]flowcontrol.RateLimiter{} // the bound on all of them stays
		}
		one = flowcontrol.NewTokenBucketRateLimiter(perAddress, addressBurst)
		l.by[a] = one
	}
	return one.TryAccept() && l.all.TryAccept()
}
