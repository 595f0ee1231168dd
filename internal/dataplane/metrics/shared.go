// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package metrics

import (
	"context"
	"errors"
	"fmt"
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
// There is one read at a time. Only if an application has not answered for maxPatience, another one is begun for clients
// that come later, because an application may hang in a single request. As no client waits for longer, there are two reads
// at most.
type shared struct {
	read func(ctx context.Context) *answer

	mu      sync.Mutex // guards the rest, and what reads say
	current *read
}

// read is a read of the application, perhaps in progress.
type read struct {
	began  time.Time
	until  time.Time   // when the last of the clients gives up
	end    *time.Timer // ends the read then
	over   bool
	done   chan struct{} // closed when answer is set
	answer *answer
}

// get returns the application's answer. After the time that the client waits it returns one with an error.
func (s *shared) get(ctx context.Context, patience time.Duration) *answer {
	r := s.join(patience)
	own := time.NewTimer(patience)
	defer own.Stop()
	select {
	case <-r.done:
		return r.answer
	case <-own.C:
	case <-ctx.Done():
	}
	return &answer{err: errLate}
}

// join returns the current read, which continues for as long as the client waits, or begins one.
func (s *shared) join(patience time.Duration) *read {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	until := now.Add(patience)
	if r := s.current; r != nil {
		switch {
		case r.over:
			return r
		case now.Before(r.until) && now.Sub(r.began) < maxPatience:
			if until.After(r.until) {
				r.until = until
				r.end.Reset(patience)
			}
			return r
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &read{began: now, until: until, done: make(chan struct{})}
	r.end = time.AfterFunc(patience, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !time.Now().Before(r.until) { // else another client has come in the meantime
			cancel()
		}
	})
	s.current = r
	go func() {
		defer cancel()
		s.run(ctx, r)
	}()
	return r
}

// run reads, and has the answer used again for scrape.Age. A read that has ended because no client waits for it is not used
// again: the next client may wait for longer.
func (s *shared) run(ctx context.Context, r *read) {
	r.answer = s.attempt(ctx)
	late := r.answer.err != nil && ctx.Err() != nil
	if late {
		r.answer = &answer{err: errLate}
	}
	s.mu.Lock()
	r.over = !late
	r.end.Stop()
	s.mu.Unlock()
	close(r.done)
	if late {
		s.forget(r)
		return
	}
	time.AfterFunc(scrape.Age, func() { s.forget(r) })
}

// forget has the next client begin another read than r.
func (s *shared) forget(r *read) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == r {
		s.current = nil
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
