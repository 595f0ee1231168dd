// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"context"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// told is what the agent of a slot reported last.
func (c *control) told(slot string) protocol.Report {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range slices.Backward(c.reports) {
		if r.slot == slot {
			return r.Report
		}
	}
	return protocol.Report{}
}

// toldPhase says whether the agent of a slot has ever reported the phase.
func (c *control) toldPhase(slot string, phase protocol.Phase) func() bool {
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return slices.ContainsFunc(c.reports, func(r report) bool { return r.slot == slot && r.Phase == phase })
	}
}

// batch sends so many requests, four at a time, and gives up on each after the time.
func batch(t *testing.T, c *http.Client, url string, n int, limit time.Duration) {
	t.Helper()
	queue := make(chan struct{}, n)
	for range n {
		queue <- struct{}{}
	}
	close(queue)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range queue {
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
				if err == nil {
					var resp *http.Response
					if resp, err = c.Do(r); err == nil {
						io.Copy(io.Discard, resp.Body)
						resp.Body.Close()
					}
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}

// TestReport: the control plane hears what the proxy saw, to the request, and how the slots go on.
func TestReport(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	p.eventually("the phase is reported at once", 2*time.Second, p.control.toldPhase("a", protocol.PhaseReady))

	kept, fresh, out := client(p.peer, 1000, true), client(p.peer, 1000, false), client(p.space, 1000, true)
	batch(t, kept, fromPeer, 200, 5*time.Second)
	batch(t, fresh, fromPeer, 200, 5*time.Second)
	batch(t, kept, fromPeer+"?status=503", 30, 5*time.Second)
	batch(t, kept, fromPeer+"?status=500", 7, 5*time.Second)
	batch(t, kept, fromPeer+"?status=404", 11, 5*time.Second)
	batch(t, kept, fromPeer+"?takes=80ms", 20, 5*time.Second)
	batch(t, fresh, fromPeer+"?takes=20s", 5, 200*time.Millisecond) // the client gives up
	batch(t, out, fromPod, 50, 5*time.Second)                       // the pod's own requests are no business of this
	const requests, failures = 200 + 200 + 30 + 7 + 11 + 20 + 5, 30 + 7 + 5

	var r protocol.Report
	p.eventually("all is reported", 3*protocol.ReportEvery, func() bool {
		r = p.control.told("a")
		return r.Requests == requests && r.P99 > 0 && r.Failures == failures
	})
	t.Logf("%+v", r)
	if w := time.Duration(r.Window); w <= 0 || w > protocol.ReportWindow {
		t.Errorf("a window of %v", w)
	}
	// 25 of 473 took 80 ms or longer.
	if r.P99 < 80 || r.P99 > 300 || r.P50 > 40 || r.Restarts != 0 {
		t.Errorf("P50 is %v ms, P99 %v ms, %d restarts", r.P50, r.P99, r.Restarts)
	}

	if rss, anon := memory(t, p.agentPID("a")); rss > 20<<10 {
		t.Errorf("the agent has %d kB, %d of them anonymous, want at most 20 MB", rss, anon)
	}

	// The other slot takes over: its figures begin with its own requests, and the first one says that it drains.
	p.start("b")
	p.eventually("slot b is the standby", 5*time.Second, p.phase("b", protocol.PhaseStandby))
	p.order(protocol.Target{Slot: "b", Generation: 1})
	p.eventually("slot b is reported as ready", 10*time.Second, p.control.toldPhase("b", protocol.PhaseReady))
	p.eventually("slot a is reported as draining", 5*time.Second, p.control.toldPhase("a", protocol.PhaseDraining))
	batch(t, fresh, fromPeer, 33, 5*time.Second)
	p.eventually("slot b reports its requests", 3*protocol.ReportEvery, func() bool { return p.control.told("b").Requests == 33 })

	p.killEnvoy("b")
	p.eventually("the restart is reported", 10*time.Second, func() bool {
		r := p.control.told("b")
		return r.Restarts == 1 && r.Phase == protocol.PhaseReady && r.Requests == 0
	})
}
