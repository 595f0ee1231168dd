// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/protocol"
)

// watched is a world whose first wave of one pod has been replaced and is being watched, and that pod.
func watched(t *testing.T) (*world, *simPod) {
	t.Helper()
	w := newWorld(t, 21, 20)
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	for range 60 {
		w.pass(2 * time.Second)
		w.operate(-1)
		for _, p := range w.pods {
			if w.status.WaveDone != nil && p.version() == "0.3.0" && p.slots["a"].phase != protocol.PhaseReady {
				return w, p // and the former slot has handed over
			}
		}
	}
	t.Fatal("no pod was replaced")
	return nil, nil
}

// report is what the pod's replaced proxy reports from now on; nil: it is not connected.
func report(in *Input, p *simPod, change func(*Proxy)) {
	var out []Proxy
	for _, r := range in.Proxies {
		if r.Pod == p.Name && r.Version == "0.3.0" {
			if change == nil {
				continue
			}
			change(&r)
		}
		out = append(out, r)
	}
	in.Proxies = out
}

// TestReplacedProxyFails: what becomes of a proxy after it took over is seen.
func TestReplacedProxyFails(t *testing.T) {
	for name, c := range map[string]struct {
		after time.Duration // since the wave was done; the soak is 30 s
		again time.Duration // later, it is looked at once more, and is the same
		// watching is how long after the wave was done this operator began
		watching time.Duration
		change   func(*Proxy)
		gone     bool // not connected
		judged   bool // the gate is asked, and fails for what it is shown
		phase    v1alpha1.UpgradePhase
		says     string
	}{
		"it is well":              {after: 29 * time.Second, phase: v1alpha1.PhaseDataPlane, says: "watching"},
		"it crashes and is back":  {after: time.Second, change: func(r *Proxy) { r.Restarts = 1 }, judged: true, phase: v1alpha1.PhaseRollingBack, says: "bad"},
		"it crashes and is down":  {after: time.Second, change: func(r *Proxy) { r.Restarts, r.Phase = 1, protocol.PhaseStarting }, judged: true, phase: v1alpha1.PhaseRollingBack, says: "bad"},
		"it rejects a resource":   {after: time.Second, change: func(r *Proxy) { r.Rejected = 1 }, judged: true, phase: v1alpha1.PhaseRollingBack, says: "bad"},
		"it is starting again":    {after: 31 * time.Second, change: func(r *Proxy) { r.Phase, r.Message = protocol.PhaseStarting, "no certificate" }, phase: v1alpha1.PhaseDataPlane, says: "no certificate"},
		"it does not start":       {after: 31 * time.Second, again: 30 * time.Second, change: func(r *Proxy) { r.Phase, r.Message = protocol.PhaseStarting, "no certificate" }, phase: v1alpha1.PhaseRollingBack, says: "no certificate"},
		"nobody looked until now": {after: time.Hour, change: func(r *Proxy) { r.Phase, r.Message = protocol.PhaseStarting, "no certificate" }, phase: v1alpha1.PhaseDataPlane, says: "no certificate"},
		"nobody looked meanwhile": {after: 31 * time.Second, again: time.Hour, watching: time.Hour + 20*time.Second, change: func(r *Proxy) { r.Phase, r.Message = protocol.PhaseStarting, "no certificate" }, phase: v1alpha1.PhaseDataPlane, says: "no certificate"},
		"it is away":              {after: 31 * time.Second, gone: true, phase: v1alpha1.PhaseDataPlane, says: "is not connected"},
		"it stays away":           {after: 31 * time.Second, again: 30 * time.Second, gone: true, phase: v1alpha1.PhaseRollingBack, says: "is not connected"},
	} {
		t.Run(name, func(t *testing.T) {
			w, p := watched(t)
			w.now = w.status.WaveDone.Add(c.after)
			in := w.input()
			if c.gone || c.change != nil {
				report(&in, p, c.change)
			}
			in.Judge = func(_ v1alpha1.Gates, replaced, _ []Seen) (v1alpha1.GateVerdict, string) {
				if len(replaced) != 1 && c.judged {
					t.Errorf("the gate is shown %+v", replaced)
				}
				if c.judged {
					return v1alpha1.GateFailed, "bad"
				}
				return v1alpha1.GatePassed, "fine"
			}
			in.Watching = w.status.WaveDone.Add(c.watching)
			d := Next(in)
			if c.again > 0 {
				in.Status, in.Now = d.Status, in.Now.Add(c.again)
				d = Next(in)
			}
			if d.Status.Phase != c.phase || !strings.Contains(d.Status.Message, c.says) {
				t.Errorf("%s: %s; want %s: %s", d.Status.Phase, d.Status.Message, c.phase, c.says)
			}
		})
	}
	// The pod's node may have gone: that is no release's fault.
	w, p := watched(t)
	w.now = w.status.WaveDone.Add(time.Minute)
	p.Ready = false
	in := w.input()
	report(&in, p, nil)
	if d := Next(in); d.Status.Phase != v1alpha1.PhaseDataPlane || d.Status.Wave < 2 {
		t.Errorf("without the pod: %+v", d.Status)
	}
}

// TestRollbackOfAProxyThatIsDown: to go back needs nothing of the proxy that failed.
func TestRollbackOfAProxyThatIsDown(t *testing.T) {
	for name, change := range map[string]func(*Proxy){
		"its proxy is down":      func(r *Proxy) { r.Phase = protocol.PhaseStarting },
		"its proxy is not there": nil,
		"its proxy flaps":        func(*Proxy) {},
	} {
		w, p := watched(t)
		p.Ready = false
		w.wanted = "0.2.0"
		in := w.input()
		report(&in, p, change)
		d := Next(in)
		if d.Status.Phase != v1alpha1.PhaseRollingBack || len(d.Moves) != 1 {
			t.Fatalf("%s: %+v, moves %+v", name, d.Status, d.Moves)
		}
		m := d.Moves[0]
		if m.Name != p.Name || m.Target == nil || m.Target.Slot != other(p.Target.Slot) || m.Target.Version != "0.2.0" || len(m.Images) > 0 {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

// TestSlotIsWaitedFor: a slot that does not get ready in time has failed, but only if somebody could
// have seen it in that time.
func TestSlotIsWaitedFor(t *testing.T) {
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	p := Pod{Name: "p", Ready: true, Target: protocol.Target{Slot: "b", Generation: 2, Version: "0.3.0", Since: began}}
	for name, c := range map[string]struct {
		now, watching time.Duration
		want          stage
	}{
		"in time":                    {now: patience, want: busy},
		"too late":                   {now: patience + time.Second, want: failed},
		"nobody could see it":        {now: time.Hour, watching: time.Hour - time.Minute, want: busy},
		"it is late after that, too": {now: time.Hour, watching: time.Hour - patience - time.Second, want: failed},
	} {
		clock := Clock{Now: began.Add(c.now), Watching: began.Add(c.watching)}
		if got := advance(p, nil, Goal{Version: "0.3.0"}, clock); got.stage != c.want {
			t.Errorf("%s: stage %d (%s), want %d", name, got.stage, got.why, c.want)
		}
	}
}
