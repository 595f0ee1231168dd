// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/protocol"
)

// TestRandom lets both sides change, fail, refuse and reconnect at random, delivers messages in any
// order, and then asks for the one thing that counts: Envoy has the newest of everything that it does
// not refuse, the last good of the rest, and the control plane has an answer to all it sent.
func TestRandom(t *testing.T) {
	for seed := range uint64(400) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { random(t, rand.New(rand.NewPCG(seed, 1))) })
	}
}

func random(t *testing.T, r *rand.Rand) {
	w := newWorld(t)
	w.envoy.filters = true
	services := []string{"a", "b", "c", "d"}
	good := map[string]string{}   // type+name, newest version that Envoy would take
	newest := map[string]string{} // type+name
	version := 0
	change := func() {
		kind := []string{"cds", "lds", "rds", "eds", "ecds"}[r.IntN(5)]
		name := services[r.IntN(len(services))]
		version++
		v := fmt.Sprint(version)
		if r.IntN(4) == 0 {
			w.envoy.refuses[name+v] = true
		} else {
			good[urls[kind]+name] = v
		}
		newest[urls[kind]+name] = v
		w.put(kind + " " + name + " " + v)
	}
	var scope []string
	rescope := func() {
		scope = nil
		for _, s := range services {
			if r.IntN(4) > 0 {
				scope = append(scope, s)
			}
		}
		w.scope("scope/ns", protocol.Scope{Clusters: scope, Listeners: scope})
	}
	w.scope(own, protocol.Scope{Include: []string{"scope/ns"}})
	rescope()
	for _, s := range services {
		for _, kind := range []string{"cds", "eds", "lds", "rds", "ecds"} {
			w.put(kind + " " + s + " 0")
			good[urls[kind]+s], newest[urls[kind]+s] = "0", "0"
		}
		w.put("sds san/" + s + " 0")
	}
	// Begin with something good, so that there is a last good to keep.
	w.connect()
	w.boot()
	w.settle()

	for range 150 {
		switch r.IntN(30) {
		case 0:
			w.toggleUpstream()
		case 1:
			w.toggleEnvoy(r)
		case 2:
			rescope()
		case 3, 4, 5:
			change()
		case 6:
			w.core.Tick(w.now)
		default:
			w.step(r)
		}
	}
	w.mend()
	w.now = w.now.Add(2 * settling) // what nobody asks for any more is forgotten
	w.core.Tick(w.now)
	w.settle()

	for _, kind := range []string{"cds", "lds", "eds", "rds", "ecds"} {
		got := w.envoy.has[urls[kind]]
		for _, s := range scope {
			url := urls[kind]
			// Envoy asks for endpoints, and for routes and filters, when it has the cluster or the listener.
			if _, asks := w.envoy.has[wire.ClusterType][s]; kind == "eds" && !asks {
				continue
			}
			if _, asks := w.envoy.has[wire.ListenerType][s]; (kind == "rds" || kind == "ecds") && !asks {
				continue
			}
			if newest[url+s] == good[url+s] && got[s] != good[url+s] {
				t.Errorf("Envoy has %s %s at %q, want %q", kind, s, got[s], good[url+s])
			}
			if w.envoy.refuses[s+got[s]] {
				t.Errorf("Envoy has %s %s at %q, which it refuses", kind, s, got[s])
			}
		}
		if kind == "cds" || kind == "lds" {
			names := map[string]bool{}
			for n := range got {
				names[n] = true
			}
			want := map[string]bool{}
			for _, s := range scope {
				if _, has := got[s]; has || newest[urls[kind]+s] == good[urls[kind]+s] {
					want[s] = true
				}
			}
			if d := cmp.Diff(want, names); d != "" {
				t.Errorf("names of %s (-want +got):\n%s", kind, d)
			}
		}
	}
	w.allAnswered()
	if s := w.core.Status(); s.Waiting != "" {
		t.Errorf("still waiting: %s", s.Waiting)
	}
	if n := len(w.core.table(wire.ClusterType).pending); n > 0 {
		t.Errorf("%d responses are pending", n)
	}
}

func (w *world) toggleUpstream() {
	if w.server.up {
		w.disconnect()
	} else {
		w.connect()
	}
}

// toggleEnvoy ends Envoy's stream, or has it or another Envoy come back.
func (w *world) toggleEnvoy(r *rand.Rand) {
	switch {
	case w.envoy.up:
		w.detach()
	case r.IntN(2) == 0:
		w.boot()
	default:
		w.attach()
	}
}

// step delivers one message, if there is any.
func (w *world) step(r *rand.Rand) {
	if s := w.steps(); len(s) > 0 {
		s[r.IntN(len(s))]()
	}
}

// mend has both sides up, and nothing on its way.
func (w *world) mend() {
	if !w.server.up {
		w.connect()
	}
	if !w.envoy.up {
		w.attach()
	}
	w.settle()
}

func (w *world) allAnswered() {
	for url, o := range w.server.out {
		w.t.Errorf("%s %s was never answered", kindOf(url), o.Nonce)
	}
}
