// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"tulle.dev/tulle/internal/scrape"
)

// errLate is the error of an application that takes longer than its clients wait.
var errLate = errors.New("get the application's metrics: it did not answer in time")

// shared reads the application for all clients that want its answer at the same time, or up to scrape.Age after it. Each
// waits for its own time, and the read continues for as long as any of them waits: a client that waits for longer makes no
// other one wait, and one that waits for less ends no read of another one. Safe for concurrent use.
//
// An application may hang in a single request. So for a client that comes minPatience or more after the last read has begun,
// another one is begun, of maxReads at most. The first answer of any of them is the answer for all clients, and ends the
// other reads. A read that fails while others are in progress is ignored: an application may refuse a second request. So no
// client is worse off than if all waited for minPatience, whatever the others wait for.
type shared struct {
	read func(ctx context.Context) *answer

	mu    sync.Mutex // guards the rest, and what is in round and its reads
	round *round
}

// round is one answer of the application, and the reads that are to get it. It has a read in progress until it has ended.
type round struct {
	reads  []*read       // in progress, oldest first
	began  time.Time     // when the last of all its reads began
	done   chan struct{} // closed when answer is set
	over   bool          // answer is set
	answer *answer
}

// maxReads bounds the reads in progress, each of which may hold maxApp bytes.
const maxReads = 3

// read is a read in progress.
type read struct {
	until  time.Time   // when the last of the clients gives up
	end    *time.Timer // ends the read then
	cancel context.CancelFunc
}

// get returns the application's answer. After the time that the client waits it returns one with an error.
func (s *shared) get(ctx context.Context, patience time.Duration) *answer {
	o := s.join(patience)
	own := time.NewTimer(patience)
	defer own.Stop()
	select {
	case <-o.done:
		return o.answer
	case <-own.C:
	case <-ctx.Done():
	}
	return &answer{err: errLate}
}

// join returns the current round, the last read of which continues for as long as the client waits, or begins one.
func (s *shared) join(patience time.Duration) *round {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.round != nil && s.round.over {
		return s.round
	}
	now := time.Now()
	if o := s.round; o != nil {
		for _, r := range slices.Clone(o.reads) {
			s.expire(o, r, now)
		}
	}
	if s.round == nil { // none, or all its reads have just expired
		s.round = &round{done: make(chan struct{})}
	}
	o := s.round
	if n := len(o.reads); n == 0 || n < maxReads && now.Sub(o.began) >= minPatience {
		s.begin(o, now, patience)
	} else {
		o.reads[n-1].extend(now, now.Add(patience))
	}
	return o
}

// begin begins another read of a round.
func (s *shared) begin(o *round, now time.Time, patience time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &read{until: now.Add(patience), cancel: cancel}
	r.end = time.AfterFunc(patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.expire(o, r, time.Now())
	})
	o.reads, o.began = append(o.reads, r), now
	go func() {
		defer cancel()
		a := s.attempt(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.finish(o, r, a)
	}()
}

// extend has a read continue until a client gives up.
func (r *read) extend(now, until time.Time) {
	if until.After(r.until) {
		r.until = until
		r.end.Reset(until.Sub(now))
	}
}

// remove removes a read from a round and ends it. It returns false if the read was removed before.
func (o *round) remove(r *read) bool {
	i := slices.Index(o.reads, r)
	if i < 0 {
		return false
	}
	o.reads = slices.Delete(o.reads, i, i+1)
	r.end.Stop()
	r.cancel()
	return true
}

// expire ends a read that no client waits for any more. With the last one the round ends, and is not used again: the next
// client may wait for longer.
func (s *shared) expire(o *round, r *read, now time.Time) {
	if now.Before(r.until) || !o.remove(r) || len(o.reads) > 0 {
		return
	}
	s.settle(o, &answer{err: errLate})
	s.forget(o)
}

// finish takes the answer of a read and has it used for scrape.Age, unless it is an error and other reads are in progress.
func (s *shared) finish(o *round, r *read, a *answer) {
	if !o.remove(r) {
		return // it was ended
	}
	if n := len(o.reads); a.err != nil && n > 0 {
		o.reads[n-1].extend(time.Now(), r.until)
		return
	}
	for len(o.reads) > 0 {
		o.remove(o.reads[0])
	}
	s.settle(o, a)
	time.AfterFunc(scrape.Age, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forget(o)
	})
}

// settle ends a round.
func (s *shared) settle(o *round, a *answer) {
	o.answer, o.over = a, true
	close(o.done)
}

// forget has the next client begin another round than o.
func (s *shared) forget(o *round) {
	if s.round == o {
		s.round = nil
	}
}

// attempt reads. A panic costs the application's metrics only.
func (s *shared) attempt(ctx context.Context) (a *answer) {
	defer func() {
		if v := recover(); v != nil {
			a = &answer{err: fmt.Errorf("get the application's metrics: panic: %v", v)}
		}
	}()
	return s.read(ctx)
}
