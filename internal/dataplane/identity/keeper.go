// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package identity

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// Keeper has a certificate and renews it. Make one with NewKeeper.
type Keeper struct {
	sign    func(ctx context.Context, lifetime time.Duration) (*Certificate, error)
	changed func(*Certificate)
	log     *slog.Logger

	mu       sync.Mutex // guards the rest
	current  *Certificate
	lifetime time.Duration
	failure  error
	before   time.Time     // certificates that begin earlier are to be renewed
	renewed  time.Time     // the before that a certificate was got for
	asked    chan struct{} // capacity 1: before has changed
}

// Delays between attempts: doubled from the first to the last, each taken at random between half and all of it.
const (
	retryFirst = 500 * time.Millisecond
	retryLast  = 30 * time.Second
)

// NewKeeper makes a Keeper that calls changed with every new certificate, on Run's goroutine.
func NewKeeper(sign func(context.Context, time.Duration) (*Certificate, error), changed func(*Certificate), log *slog.Logger) *Keeper {
	return &Keeper{sign: sign, changed: changed, log: log, asked: make(chan struct{}, 1)}
}

// Current is the certificate; nil before there is one. It may have expired if the control plane has
// been away for a third of its life.
func (k *Keeper) Current() *Certificate {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current
}

// Failure is why there is no certificate, or no newer one; nil if nothing is amiss.
func (k *Keeper) Failure() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failure
}

// SetLifetime says how long certificates are to live, from the next one on; 0 leaves it to the control plane.
func (k *Keeper) SetLifetime(d time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lifetime = d
}

// RenewIssuedBefore asks for a new certificate, within protocol.RenewWithin, if the current one begins
// before t. Each time asks once: a control plane whose clock is behind can't make anything newer.
func (k *Keeper) RenewIssuedBefore(t time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !t.After(k.before) {
		return
	}
	k.before = t
	select {
	case k.asked <- struct{}{}:
	default:
	}
}

// outdated tells whether the current certificate is one that is to be renewed early.
func (k *Keeper) outdated() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current != nil && k.current.NotBefore.Before(k.before) && k.renewed.Before(k.before)
}

// Run gets and renews the certificate until ctx is done.
func (k *Keeper) Run(ctx context.Context) {
	delay := retryFirst
	for {
		k.mu.Lock()
		lifetime, before := k.lifetime, k.before
		k.mu.Unlock()
		c, err := k.sign(ctx, lifetime)
		if ctx.Err() != nil {
			return
		}
		var wait time.Duration
		if err != nil {
			k.log.Warn("Getting a certificate failed", "error", err)
			wait = max(delay/2+rand.N(delay/2), retryAfter(err)) //nolint:gosec // jitter needs no secrecy
			delay = min(2*delay, retryLast)
		} else {
			delay = retryFirst
			wait = renewIn(c, time.Now())
			k.log.Info("Got a certificate", "notAfter", c.NotAfter, "renewIn", wait.Round(time.Second))
		}
		k.mu.Lock()
		k.failure = err
		if err == nil {
			k.current, k.renewed = c, before
		}
		k.mu.Unlock()
		if err == nil {
			k.changed(c)
		}
		if !k.pause(ctx, wait) {
			return
		}
	}
}

// pause waits until the next request is due, which may be asked for earlier; false: ctx is done.
func (k *Keeper) pause(ctx context.Context, wait time.Duration) bool {
	due := time.Now().Add(wait)
	for {
		// What was asked while the last request was under way counts too.
		if early := time.Now().Add(rand.N(protocol.RenewWithin)); k.outdated() && early.Before(due) { //nolint:gosec // jitter needs no secrecy
			due = early
			k.log.Info("Renewing early, as the control plane asks", "in", time.Until(due).Round(time.Second))
		}
		timer := time.NewTimer(time.Until(due))
		select {
		case <-ctx.Done():
			timer.Stop()
			return false
		case <-timer.C:
			return true
		case <-k.asked:
			timer.Stop()
		}
	}
}

// renewIn is the time to the renewal: two thirds of the life that the certificate has before it, less
// up to a twentieth at random so that pods that started together don't renew together. At least a
// second. The past does not count: certificates are back-dated, short-lived ones by more than they live.
func renewIn(c *Certificate, now time.Time) time.Duration {
	left := max(c.NotAfter.Sub(now), 0)
	return max(left/3*2-rand.N(left/20+1), time.Second) //nolint:gosec // jitter needs no secrecy
}
