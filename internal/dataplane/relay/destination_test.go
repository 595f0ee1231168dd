// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

const there = "to/10.0.0.1:80"

// dials is a world of one listener, that of redirected outbound connections, with a chain on demand.
func dials(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.scope(own, protocol.Scope{
		Include: []string{names.ScopeMesh}, Clusters: []string{names.Passthrough}, Listeners: []string{names.Outbound},
	})
	w.scope(names.ScopeMesh, protocol.Scope{OutboundChains: [][]byte{demandChain(t, "on-demand", 10)}})
	w.put("cds std/passthrough 1", "lds std/outbound 1", "eds std/passthrough 1", "rds std/outbound 1", "sds san/std/passthrough 1")
	w.connect()
	w.boot()
	w.settle()
	return w
}

// dial has Envoy ask for a destination.
func (w *world) dial(name string) {
	w.core.EnvoyRequest(w.now, &wire.Request{TypeURL: wire.ClusterType, Subscribe: []string{name}})
}

func (w *world) cluster(name string) string { return w.envoy.has[wire.ClusterType][name] }

// TestDestination: what Envoy asks for on demand is asked for upstream, and is what the control plane says.
func TestDestination(t *testing.T) {
	w := dials(t)
	w.put("cds " + there + " 1")
	w.dial(there)
	w.deliver()
	if v := w.cluster(there); v != "1" {
		t.Errorf("Envoy has the destination at %q, want 1", v)
	}
	if v := w.server.acked[wire.ClusterType+there]; v != "1" {
		t.Errorf("acknowledged at %q", v)
	}
	w.put("cds " + there + " 2")
	w.deliver()
	if v := w.cluster(there); v != "2" {
		t.Errorf("after a change Envoy has it at %q, want 2", v)
	}
	// It is no part of the scope, and a change of the scope leaves it.
	w.scope(names.ScopeMesh, protocol.Scope{Clusters: []string{"a"}, OutboundChains: [][]byte{demandChain(t, "on-demand", 10)}})
	w.put("cds a 1", "eds a 1", "sds san/a 1")
	w.settle()
	if v := w.cluster(there); v != "2" {
		t.Errorf("after a change of the scope Envoy has it at %q, want 2", v)
	}
	if s := w.core.Status(); s.Waiting != "" {
		t.Errorf("waiting: %s", s.Waiting)
	}
}

// TestDestinationUnanswered: a control plane that says nothing, or that there is nothing, costs a
// connection a second, and keeps nothing else waiting.
func TestDestinationUnanswered(t *testing.T) {
	for name, late := range map[string]bool{"says nothing": true, "knows of none": false} {
		t.Run(name, func(t *testing.T) {
			w := dials(t)
			w.server.late = map[string]bool{there: late}
			w.dial(there)
			w.deliver()
			if v := w.cluster(there); v != "" {
				t.Errorf("at once Envoy has the destination at %q", v)
			}
			if s := w.core.Status(); s.Waiting != "" {
				t.Errorf("waiting: %s", s.Waiting)
			}
			w.put("lds std/outbound 2")
			w.deliver()
			if v := w.envoy.has[wire.ListenerType][names.Outbound]; !strings.HasPrefix(v, "2~") {
				t.Errorf("a listener is at %q while a destination waits, want 2", v)
			}
			w.now = w.now.Add(patience)
			w.core.Tick(w.now)
			w.deliver()
			if v := w.cluster(there); v != passed {
				t.Errorf("after %v Envoy has it at %q, want the agent's own", patience, v)
			}
			// The answer comes after all.
			w.server.late = nil
			w.put("cds " + there + " 1")
			w.deliver()
			if v := w.cluster(there); v != "1" {
				t.Errorf("in the end Envoy has it at %q, want 1", v)
			}
		})
	}
}

// TestDestinationWithoutControlPlane: there is no waiting for a control plane that is away, and its answer
// replaces the agent's own once it is back.
func TestDestinationWithoutControlPlane(t *testing.T) {
	w := dials(t)
	w.server.late = map[string]bool{"to/10.0.0.2:80": true}
	w.dial("to/10.0.0.2:80")
	w.deliver()
	w.disconnect()
	w.dial(there)
	w.deliver()
	for _, name := range []string{there, "to/10.0.0.2:80"} {
		if v := w.cluster(name); v != passed {
			t.Errorf("Envoy has %s at %q, want the agent's own", name, v)
		}
	}
	w.put("cds " + there + " 1")
	w.connect()
	w.deliver()
	if v := w.cluster(there); v != "1" {
		t.Errorf("Envoy has it at %q, want 1", v)
	}
}

// TestUntouched: the agent's own cluster is that of untouched connections, with another name.
func TestUntouched(t *testing.T) {
	like := wire.NewResource(wire.ClusterType, names.Passthrough, "1", wire.AppendClusterName([]byte("\x12\x01x"), names.Passthrough))
	before := string(like.Raw)
	r := likeness(&entry{good: &like}, there, passed)
	body, err := r.Body()
	if err != nil || string(body) != "\x12\x01x\x0a\x0fstd/passthrough\x0a\x0eto/10.0.0.1:80" || r.Name != there {
		t.Errorf("%q %q %v", r.Name, body, err)
	}
	if string(like.Raw) != before {
		t.Error("the cluster that it was made of has changed")
	}
	if likeness(nil, there, passed) != nil || likeness(&entry{}, there, passed) != nil {
		t.Error("a cluster was made of none")
	}
}

// TestDestinationsAreBounded: of too many the oldest go, and come again when they are asked for.
func TestDestinationsAreBounded(t *testing.T) {
	w := dials(t)
	name := func(n int) string { return fmt.Sprintf("to/10.0.%d.%d:80", n/256, n%256) }
	for n := range maxDestinations + 3 {
		w.put("cds " + name(n) + " 1")
		w.dial(name(n))
		w.deliver()
	}
	w.settle()
	if n := len(w.envoy.has[wire.ClusterType]); n != maxDestinations+1 {
		t.Errorf("Envoy has %d clusters, want %d and one of the scope", n, maxDestinations)
	}
	if w.cluster(name(2)) != "" || w.cluster(name(3)) == "" {
		t.Error("not the oldest have gone")
	}
	if n := len(w.server.subs[wire.ClusterType]); n != maxDestinations+1 {
		t.Errorf("%d clusters are subscribed to", n)
	}
	w.dial(name(3)) // no longer the one that was asked for longest ago
	w.dial(name(0))
	w.settle()
	if w.cluster(name(0)) != "1" || w.cluster(name(3)) != "1" || w.cluster(name(4)) != "" {
		t.Errorf("asked for again, the first is at %q and the fourth at %q, the fifth at %q", w.cluster(name(0)), w.cluster(name(3)), w.cluster(name(4)))
	}
}

// TestDestinationsGoWhileOthersCome: a pod that connects to ever new addresses has no more than that many at
// any time, and nothing else waits for them: neither the agent's being ready, nor a listener.
func TestDestinationsGoWhileOthersCome(t *testing.T) {
	w := dials(t)
	all := &wire.Request{TypeURL: wire.ClusterType}
	for n := range maxDestinations {
		all.Subscribe = append(all.Subscribe, fmt.Sprintf("to/10.0.%d.%d:80", n/256, n%256))
		w.put("cds " + all.Subscribe[n] + " 1")
	}
	w.core.EnvoyRequest(w.now, all)
	w.deliver()
	for n := range 20 {
		name := fmt.Sprintf("to/10.9.0.%d:80", n)
		w.put("cds " + name + " 1")
		w.dial(name)
		w.deliver()
		w.now = w.now.Add(time.Second)
		w.core.Tick(w.now)
		w.deliver()
		if s := w.core.waiting(); s != "" {
			t.Fatalf("waiting: %s", s)
		}
	}
	if n := len(w.envoy.has[wire.ClusterType]); n > maxDestinations+1 {
		t.Errorf("Envoy has %d clusters, want at most %d and one of the scope", n, maxDestinations)
	}
	// One is on its way to an Envoy that has not answered yet.
	w.put("cds " + there + " 1")
	w.dial(there)
	for len(w.toServer) > 0 || len(w.toCore) > 0 {
		if len(w.toServer) > 0 {
			w.hear()
		} else {
			w.inform()
		}
	}
	if w.core.tables[0].flight == nil {
		t.Fatal("the destination is not on its way")
	}
	if s := w.core.waiting(); s != "" {
		t.Errorf("waiting: %s", s)
	}
	w.put("lds std/outbound 2")
	w.inform()
	if last := w.toEnvoy[len(w.toEnvoy)-1]; last.TypeURL != wire.ListenerType {
		t.Error("a listener waits for a destination")
	}
}

// TestDestinationsOfAnAdoptedEnvoy: a new agent takes over what Envoy has of the destinations that it
// repeats, and answers what a connection still waits for.
func TestDestinationsOfAnAdoptedEnvoy(t *testing.T) {
	old := dials(t)
	old.put("cds "+there+" 1", "eds "+there+" 1", "sds san/"+there+" 1")
	old.dial(there)
	old.settle()
	w := newWorld(t)
	w.server.have, w.envoy = old.server.have, old.envoy
	w.envoy.asks[wire.ClusterType] = map[string]bool{"*": true, there: true, "to/10.0.0.9:80": true}
	heard := len(w.envoy.log)
	w.attach()
	w.connect()
	w.settle()
	if log := w.envoy.log[heard:]; len(log) == 0 || log[0] != "cds +to/10.0.0.9:80 "+passed || lastOf(log, "cds") != 0 {
		t.Errorf("Envoy heard %q, want the cluster that it waits for and no other", log)
	}
	if v := w.server.subs[wire.ClusterType][there]; v != "1" {
		t.Errorf("subscribed to %v", w.server.subs[wire.ClusterType])
	}
}
