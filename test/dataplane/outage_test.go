// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"tulle.dev/tulle/internal/protocol"
)

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatalf("kill %d: %v", pid, err)
	}
}

func TestControlPlaneAway(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	l := newLoad(p)
	p.control.stop()
	l.during(500)
	l.stop(t)

	// Even a new Envoy comes up, with the configuration that the agent holds.
	t.Logf("a new Envoy took %v", p.killEnvoy("a"))
	if v := p.config(); v != "v1" {
		t.Errorf("a new Envoy without a control plane routes by %q, want v1", v)
	}

	// Back: nothing is sent again but what has changed.
	sent, _, _ := p.control.counts()
	p.control.put(web, "2", route("v2"))
	p.control.start()
	p.eventually("v2 is in use", 20*time.Second, func() bool { return p.config() == "v2" })
	if now, _, _ := p.control.counts(); now != sent+1 {
		t.Errorf("after the reconnection %d resources were sent, want the one that changed", now-sent)
	}
}

func TestControlPlaneComesLate(t *testing.T) {
	p := newPod(t)
	p.control.stop()
	p.start("a")
	p.eventually("slot a says what it waits for", 5*time.Second, func() bool {
		s := p.state("a")
		return s.Phase == protocol.PhaseStarting && strings.Contains(s.Message, "connection refused")
	})
	p.control.start()
	p.hook("a", "wait")
	if v := p.config(); v != "v1" {
		t.Errorf("the pod routes by %q, want v1", v)
	}
}

func TestRefusedToken(t *testing.T) {
	p := newPod(t)
	token := p.secrets + "/token/token"
	replace := func(content string) {
		err := os.WriteFile(token+".new", []byte(content), 0o444)
		if err == nil {
			err = os.Rename(token+".new", token)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	replace("token-of-another")
	p.start("a")
	p.eventually("slot a says why", 5*time.Second, func() bool { return strings.Contains(p.state("a").Message, "the token is not valid (401)") })
	// The kubelet renews the file: the agent reads it again.
	replace("token-of-cart")
	p.hook("a", "wait")
}

func TestAgentKilled(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	l := newLoad(p)
	l.during(200)
	for i := range 3 {
		envoy, agent := p.envoyPID("a"), p.agentPID("a")
		kill(t, agent)
		p.eventually("another agent reports", 10*time.Second, func() bool {
			return !alive(agent) && p.state("a").Phase == protocol.PhaseReady && p.serving()
		})
		if now := p.envoyPID("a"); now != envoy || !alive(now) {
			t.Errorf("Envoy %d became %d: it should have outlived the agent", envoy, now)
		}
		// The new agent's configuration and identity reach the old Envoy.
		version := "again" + string(rune('0'+i))
		p.control.put(web, version, route(version))
		p.eventually("the change is in use", 10*time.Second, func() bool { return p.config() == version })
	}
	l.stop(t)
	// And an adopted Envoy that dies is noticed and replaced.
	p.killEnvoy("a")
	if v := p.config(); v != "again2" {
		t.Errorf("the pod routes by %q, want again2", v)
	}
}

func TestAgentKilledWithoutControlPlane(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	l := newLoad(p)
	p.control.stop()
	agent := p.agentPID("a")
	kill(t, agent)
	p.eventually("another agent reports", 10*time.Second, func() bool {
		return !alive(agent) && p.state("a").Phase == protocol.PhaseReady && p.serving()
	})
	l.during(500)
	l.stop(t)
	p.control.put(web, "2", route("v2"))
	p.control.start()
	p.eventually("v2 is in use", 40*time.Second, func() bool { return p.config() == "v2" })
}

func TestRotation(t *testing.T) {
	p := newPod(t)
	p.control.mu.Lock()
	p.control.lifetime = 3 * time.Second // renewed after two
	p.control.mu.Unlock()
	p.start("a")
	p.hook("a", "wait")
	p.closing.Store(true) // a connection keeps the certificate it began with
	l := newLoad(p)
	p.eventually("the peer has seen four certificates", 20*time.Second, func() bool { return p.seenByWeb.size() >= 4 })
	l.stop(t)
	if _, _, streams := p.control.counts(); streams > 1 {
		t.Errorf("%d streams are open, want one", streams)
	}
}

func TestSlotCrash(t *testing.T) {
	p := newPod(t)
	p.start("a")
	p.hook("a", "wait")
	p.start("b")
	p.eventually("slot b is the standby", 5*time.Second, p.phase("b", protocol.PhaseStandby))
	// The container of slot a dies with all that is in it, and does not come back (its image is gone).
	envoy, agent := p.envoyPID("a"), p.agentPID("a")
	kill(t, p.slots["a"].Process.Pid)
	p.slots["a"].Wait()
	for _, pid := range []int{agent, envoy} {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	took := p.eventually("slot b helps out", 10*time.Second, func() bool { return p.state("b").Phase == protocol.PhaseReady })
	t.Logf("slot b serves after %v", took)
	if v := p.config(); v != "v1" {
		t.Errorf("the pod routes by %q, want v1", v)
	}
	// It comes back after all: it was told to be active, so it takes over.
	p.start("a")
	p.eventually("slot a is active again", 10*time.Second, p.phase("a", protocol.PhaseReady))
	p.eventually("slot b is the standby again", 20*time.Second, p.phase("b", protocol.PhaseStandby))
	if _, _, err := get(client(p.peer, 0, false), fromPeer, ""); err != nil {
		t.Errorf("after all this: %v", err)
	}
}
