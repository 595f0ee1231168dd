// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/load"
)

// background is a load from outside of the cluster that goes on beside a test. It is light, so that it
// needs no pod of its own.
type background struct {
	end func() load.Summary // ends it, once all that is under way is answered

	mu  sync.Mutex
	now load.Summary // guarded by mu
}

// loadBeside begins a load that goes on until its end is called, or the test's.
func loadBeside(t *testing.T, o load.Options) *background {
	t.Helper()
	b := &background{}
	o.Method, o.Duration, o.Every = "POST", time.Hour, 50*time.Millisecond
	o.Progress = func(s load.Summary) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.now = s
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan load.Summary, 1)
	go func() {
		s, err := load.Run(ctx, o)
		if err != nil {
			t.Error(err)
		}
		ended <- s
	}()
	b.end = sync.OnceValue(func() load.Summary {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { b.end() })
	return b
}

// seen is what has become of its requests until now, a moment ago at most.
func (b *background) seen() load.Summary {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// until waits for something that its requests show.
func (b *background) until(t *testing.T, what string, so func(load.Summary) bool) load.Summary {
	t.Helper()
	var s load.Summary
	cluster.Eventually(t, 30*time.Second, what, func() error {
		if s = b.seen(); !so(s) {
			return fmt.Errorf("%d sent, %v by %v, %v", s.Sent, s.Statuses, s.Versions, s.Failures)
		}
		return nil
	})
	return s
}
