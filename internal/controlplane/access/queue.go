// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package access

import (
	"context"
	"net/netip"
	"time"

	"tulle.dev/tulle/internal/bounded"
)

const (
	// queueWait is how long a review waits for others to end.
	queueWait = 5 * time.Second
	// maxWaiting bounds the reviews that wait in a queue.
	maxWaiting = 256
	// whole is the part of the budget that a review takes, and for each token that its address sent lately, up
	// to maxRecent, one more. The Budget serves the smallest request first, so an address that sent few tokens
	// is served before one that sent many. maxRecent is so small that the number of reviews at once stays the same.
	whole     = 10_000
	maxRecent = 60
	// perAddress is how many reviews the callers at one address have at once.
	perAddress = 2
	// forget is how long it takes until one of the tokens that an address sent no longer counts.
	forget = 10 * time.Second
	// maxAddresses bounds the addresses whose tokens are counted.
	maxAddresses = 1024
)

// queue holds the reviews for one class of callers. Safe for concurrent use.
type queue struct {
	budget *bounded.Budget
	// least is how long a review keeps its place at least: it makes the number of places a rate too.
	least time.Duration
}

func newQueue(places int64, share int64, least time.Duration) *queue {
	const most = whole + maxRecent
	return &queue{least: least, budget: bounded.NewBudget(bounded.BudgetOptions{
		Total: places * most, Share: share * most, Wait: queueWait, Waiting: maxWaiting, Grace: queueWait,
	})}
}

// enter waits for a place for a caller whose address sent this many tokens lately. Call leave when the review has
// ended. The error is bounded.ErrBusy, or the context's.
func (q *queue) enter(ctx context.Context, from netip.Addr, recent int) (leave func(), err error) {
	lease, err := q.budget.Acquire(ctx, from, whole+int64(recent), nil)
	if err != nil {
		return nil, err
	}
	since := time.Now()
	return func() {
		if rest := q.least - time.Since(since); rest > 0 {
			time.AfterFunc(rest, lease.Release)
			return
		}
		lease.Release()
	}, nil
}

// senders counts the tokens that each address sent lately. It is not safe for concurrent use.
type senders map[netip.Addr]sent

type sent struct {
	tokens float64
	at     time.Time
}

// left is how many of the tokens still count.
func (s sent) left(now time.Time) float64 {
	return max(0, s.tokens-max(0, now.Sub(s.at).Seconds())/forget.Seconds())
}

// add counts a token and returns how many tokens of the address counted before it, maxRecent at most. If there are
// maxAddresses, the addresses whose tokens no longer count are removed, or else the one with the fewest.
func (s senders) add(a netip.Addr, now time.Time) int {
	before := s[a].left(now)
	if _, there := s[a]; !there && len(s) >= maxAddresses {
		var fewest netip.Addr
		least := float64(maxRecent + 1)
		for other, o := range s {
			switch n := o.left(now); {
			case n == 0:
				delete(s, other)
			case n < least:
				fewest, least = other, n
			}
		}
		if len(s) >= maxAddresses {
			delete(s, fewest)
		}
	}
	s[a] = sent{min(before+1, maxRecent), now}
	return int(before + 0.999) // a token that counts in part still counts
}
