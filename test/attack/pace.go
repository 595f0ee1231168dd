// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package attack

import (
	"context"
	"sync"
	"time"
)

// What things cost of a Pace: roughly, how many times the work of one small frame they make a proxy do.
const (
	costFrame      = 1
	costPiece      = 4 // 16 KiB of a body
	costRequest    = 20
	costConnection = 20
)

// Pace bounds what an attack sends in a second. A nil Pace has no bound. It is safe for concurrent use.
type Pace struct {
	each time.Duration // of a cost of 1

	mu   sync.Mutex
	next time.Time // guarded by mu; when what has been let through is paid
}

// burst is how much an attacker may be late and make up for it.
const burst = 50 * time.Millisecond

// NewPace returns a Pace that lets things through that cost so much in a second, which must be positive.
func NewPace(perSecond int) *Pace {
	return &Pace{each: time.Second / time.Duration(perSecond)}
}

// Wait waits for the turn of something with that cost. It returns an error once ctx is done.
func (p *Pace) Wait(ctx context.Context, cost int) error {
	if p == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	p.mu.Lock()
	now := time.Now()
	if earliest := now.Add(-burst); p.next.Before(earliest) {
		p.next = earliest
	}
	p.next = p.next.Add(time.Duration(cost) * p.each)
	late := p.next.Sub(now)
	p.mu.Unlock()
	if late > 0 {
		pause(ctx, late)
	}
	return ctx.Err()
}
