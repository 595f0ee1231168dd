// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"net/http"
	"testing"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// TestHandover replaces the active slot under load, back and forth, and nothing notices: neither
// requests, nor the kubelet's probes.
func TestHandover(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	p.start("b")
	p.eventually("slot b is the standby", 5*time.Second, p.phase("b", protocol.PhaseStandby))
	l := newLoad(p)
	stop := make(chan struct{})
	probed := make(chan []string)
	go func() { probed <- probe(p, stop) }()
	l.during(500)
	from, to := "a", "b"
	for generation := int64(1); generation <= 4; generation++ {
		p.order(protocol.Target{Slot: to, Generation: generation})
		took := p.eventually("slot "+to+" is active", 10*time.Second, func() bool {
			s := p.state(to)
			return s.Phase == protocol.PhaseReady && s.Generation == generation
		})
		drained := p.eventually("slot "+from+" is the standby", 20*time.Second, p.phase(from, protocol.PhaseStandby))
		t.Logf("slot %s took over after %v, slot %s had drained %v later", to, took, from, drained)
		if pid := p.envoyPID(from); alive(pid) {
			t.Errorf("slot %s is the standby, and its Envoy %d runs", from, pid)
		}
		l.during(300)
		from, to = to, from
	}
	l.stop(t)
	close(stop)
	if failed := <-probed; len(failed) > 0 {
		t.Errorf("%d probes failed, the first: %s", len(failed), failed[0])
	}
}

// TestHandoverBetweenReleases replaces a slot of the previous release by one of this one under load, and goes back,
// as an upgrade of the pod and its rollback do; then the same in a pod that this release began. Nothing notices.
func TestHandoverBetweenReleases(t *testing.T) {
	for _, first := range []string{"previous", "this"} {
		t.Run("the pod began with "+first, func(t *testing.T) {
			p := newPod(t)
			p.ofOlder("a", first == "previous")
			p.start("a")
			p.hook("a", "wait")
			p.ofOlder("b", first != "previous")
			p.start("b")
			p.eventually("slot b is the standby", 5*time.Second, p.phase("b", protocol.PhaseStandby))
			l := newLoad(p)
			stop := make(chan struct{})
			probed := make(chan []string)
			go func() { probed <- probe(p, stop) }()
			l.during(500)
			from, to := "a", "b"
			for generation := int64(1); generation <= 4; generation++ {
				p.order(protocol.Target{Slot: to, Generation: generation})
				took := p.eventually("slot "+to+" is active", 10*time.Second, func() bool {
					s := p.state(to)
					return s.Phase == protocol.PhaseReady && s.Generation == generation
				})
				drained := p.eventually("slot "+from+" is the standby", 20*time.Second, p.phase(from, protocol.PhaseStandby))
				t.Logf("slot %s took over after %v, slot %s had drained %v later", to, took, from, drained)
				l.during(300)
				from, to = to, from
			}
			l.stop(t)
			close(stop)
			if failed := <-probed; len(failed) > 0 {
				t.Errorf("%d probes failed, the first: %s", len(failed), failed[0])
			}
			if v := p.state("a").Version + " " + p.state("b").Version; v != map[string]string{"previous": "0.2.0 test", "this": "test 0.2.0"}[first] {
				t.Errorf("the slots are of %s", v)
			}
		})
	}
}

// probe asks for readiness and metrics the way a kubelet and a scraper do, again and again.
func probe(p *pod, stop chan struct{}) (failed []string) {
	c := client(p.peer, 0, false)
	for n := 0; ; n++ {
		select {
		case <-stop:
			return failed
		case <-time.After(3 * time.Millisecond):
		}
		url := "http://" + podIP + ":15021/ready"
		if n%10 == 0 {
			url = "http://" + podIP + ":15020/health"
		}
		r, err := c.Get(url)
		if err != nil {
			failed = append(failed, err.Error())
			continue
		}
		if r.StatusCode != http.StatusOK {
			failed = append(failed, url+": "+r.Status)
		}
		r.Body.Close()
	}
}

// TestHandoverToABrokenSlot orders the other slot to be active, which cannot get ready: the old one
// goes on, and hands over when the other has been mended.
func TestHandoverToABrokenSlot(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	p.extra = []string{protocol.EnvPodIPs + "="} // the last one counts: an agent that fails at once
	p.start("b")
	p.eventually("slot b is the standby", 5*time.Second, p.phase("b", protocol.PhaseStandby))
	l := newLoad(p)
	p.order(protocol.Target{Slot: "b", Generation: 1})
	p.eventually("slot b reports its failure", 5*time.Second, func() bool {
		s := p.state("b")
		return s.Phase == protocol.PhaseFailed && s.Message != ""
	})
	l.during(500)
	if s := p.state("a"); s.Phase != protocol.PhaseReady {
		t.Errorf("slot a is %+v, want Ready", s)
	}
	// Rolled back: the order names slot a again, under a higher generation. Nothing restarts.
	envoy := p.envoyPID("a")
	p.order(protocol.Target{Slot: "a", Generation: 2})
	p.eventually("slot a has the new generation", 5*time.Second, func() bool { return p.state("a").Generation == 2 })
	if p.envoyPID("a") != envoy {
		t.Error("the roll-back restarted Envoy")
	}
	l.stop(t)
	p.slots["b"].Process.Kill()
	p.slots["b"].Wait()
}
