// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package probes

import (
	"context"
	"sync"
	"time"
)

// flight runs a probe once at a time. A client that asks while it runs gets the verdict of that run: so a
// flood of requests is one request to the application, and cannot make the kubelet wait. The zero value is
// ready. Safe for concurrent use.
type flight struct {
	mu      sync.Mutex
	running *run // nil: none
}

// run is one run of a probe.
type run struct {
	done    chan struct{}
	verdict verdict // read after done
	cancel  context.CancelFunc
	askers  int // guarded by flight.mu
}

// do returns the verdict of the run in progress, or of a new one that may take as long as the timeout. The
// run is cancelled when the last client that waits for it has gone.
func (f *flight) do(ctx context.Context, timeout time.Duration, probe func(context.Context) verdict) verdict {
	f.mu.Lock()
	r := f.running
	if r == nil {
		r = f.start(ctx, timeout, probe)
	}
	r.askers++
	f.mu.Unlock()

	select {
	case <-r.done:
		return r.verdict
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if r.askers--; r.askers == 0 {
		r.cancel()
		f.end(r) // whoever asks next must not get the verdict of a cancelled run
	}
	return failed(ctx.Err())
}

// start begins a run. The caller holds the lock.
func (f *flight) start(ctx context.Context, timeout time.Duration, probe func(context.Context) verdict) *run {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	r := &run{done: make(chan struct{}), cancel: cancel}
	f.running = r
	go func() {
		defer cancel()
		r.verdict = probe(ctx)
		f.mu.Lock()
		f.end(r)
		f.mu.Unlock()
		close(r.done)
	}()
	return r
}

// end makes the next client start another run. The caller holds the lock.
func (f *flight) end(r *run) {
	if f.running == r {
		f.running = nil
	}
}
