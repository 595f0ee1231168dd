// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// world is a cluster as far as an upgrade sees it: slots obey their orders as the real ones do, and
// take their time.
type world struct {
	t        *testing.T
	r        *rand.Rand
	now      time.Time
	wanted   string
	serving  string
	spec     v1alpha1.Upgrade
	status   *v1alpha1.UpgradeStatus
	pods     map[string]*simPod
	deployed map[string]int // version -> ready replicas of 2
	gateways string
	broken   map[string]bool // versions whose proxies never get ready
	verdict  func(replaced, others []Seen) (v1alpha1.GateVerdict, string)
	judged   int
	diff     *Difference
	external bool // the answer was asked for
	events   []string
	restarts []string
	silent   bool // no control plane answers
	watching time.Time
	// image is the proxy image of a version; named and pulled are as in Input.
	image  func(version string) string
	named  func(repository string) bool
	pulled []string
	// forged are pods of tenants that only look as if they had a proxy; stuck are Gateways whose Deployments wait.
	forged []Pod
	stuck  map[string]string
	memory Memory
	// away are pods whose proxies can't reach a control plane; without are nodes that do not get images.
	away    map[string]bool
	dead    bool // pods may be without a proxy that serves
	without []string
	// replacing is how many pods were in replacement after the last round.
	replacing int
}

type simSlot struct {
	image, version string
	phase          protocol.Phase
	generation     int64
	until          time.Time // when the phase ends
}

type simPod struct {
	Pod
	slots map[string]*simSlot
}

func newWorld(t *testing.T, seed uint64, sizes ...int) *world {
	w := &world{
		t: t, r: rand.New(rand.NewPCG(seed, 7)), now: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC), //nolint:gosec // a test
		wanted: "0.2.0", serving: "0.2.0", pods: map[string]*simPod{}, deployed: map[string]int{"0.2.0": 2}, gateways: "0.2.0",
		broken: map[string]bool{}, diff: &Difference{Summary: "nothing"},
		image: func(v string) string { return "proxy:" + v }, named: func(string) bool { return true },
	}
	w.spec.Soak.Duration = 30 * time.Second
	w.verdict = func([]Seen, []Seen) (v1alpha1.GateVerdict, string) { return v1alpha1.GatePassed, "fine" }
	for i, n := range sizes {
		for k := range n {
			w.add(fmt.Sprintf("w%d-%d", i, k), fmt.Sprintf("shop/ReplicaSet/w%d", i), "0.2.0", names.KindSidecar)
		}
	}
	return w
}

func (w *world) add(name, workload, version, kind string) *simPod {
	p := &simPod{Pod: Pod{
		Namespace: "shop", Name: name, UID: types.UID(name), Kind: kind, Workload: workload, Ready: true,
		Labels: map[string]string{names.LabelVersion: version, "app": name[:strings.Index(name, "-")]},
	}, slots: map[string]*simSlot{
		"a": {image: "proxy:" + version, version: version, phase: protocol.PhaseReady},
		"b": {image: "proxy:" + version, version: version, phase: protocol.PhaseStandby},
	}}
	w.pods[p.key()] = p
	return p
}

// allowed holds minor releases to one step.
func allowed(from, to string) error {
	if d := int(from[2]) - int(to[2]); d < -1 || d > 1 {
		return errors.New("too far")
	}
	return nil
}

func (w *world) input() Input {
	if w.silent {
		w.watching = w.now
	}
	in := Input{
		Spec: w.spec, Gateways: w.gateways, GatewayDeployments: w.deployments(), Wanted: w.wanted, Status: w.status, Serving: w.serving, Complete: !w.silent, Clock: Clock{Now: w.now, Watching: w.watching}, Difference: w.diff,
		Image:        w.image,
		Named:        w.named,
		Pulled:       w.pulled,
		NodesWithout: w.without,
		Allowed:      allowed,
		Deployed:     func(v string) (bool, string) { return w.deployed[v] == 2, "1 of 2" },
		Judge: func(_ v1alpha1.Gates, replaced, others []Seen) (v1alpha1.GateVerdict, string) {
			w.judged++
			return w.verdict(replaced, others)
		},
	}
	for _, k := range slices.Sorted(maps.Keys(w.pods)) {
		p := w.pods[k]
		p.A.Image, p.B.Image = p.slots["a"].image, p.slots["b"].image
		in.Pods = append(in.Pods, p.Pod)
		for _, slot := range []string{"a", "b"} {
			s := p.slots[slot]
			if s.phase != protocol.PhaseStandby && !w.silent && !w.away[k] {
				in.Proxies = append(in.Proxies, Proxy{Namespace: p.Namespace, Pod: p.Name, Slot: slot, Version: s.version, Phase: s.phase})
			}
		}
	}
	in.Pods = append(in.Pods, w.forged...)
	in.Remembered = w.memory.Look(w.status, w.gateways, in.Pods, in.Proxies, w.now)
	if w.status == nil || w.status.Finished != nil {
		in.NodesWithout = nil // the operator does not look
	}
	if w.external {
		in.External = &v1alpha1.GateResult{Wave: w.status.Wave, Result: v1alpha1.GatePassed, Message: "200"}
	}
	return in
}

// operate does one round of the operator, up to the given number of its moves; -1: all, and the status.
func (w *world) operate(stop int) Decision {
	w.t.Helper()
	d := Next(w.input())
	for i, m := range d.Moves {
		if stop >= 0 && i >= stop {
			return d
		}
		w.apply(m)
	}
	replacing := 0
	for _, p := range w.pods {
		if t := p.Target; t.Version != "" && p.slots[t.Slot].phase != protocol.PhaseReady && !w.away[p.key()] {
			replacing++
		}
	}
	if n := len(w.pods); !w.dead && d.Status != nil && d.Status.Phase == v1alpha1.PhaseDataPlane && replacing > max(1, share(n, 10)) && replacing > w.replacing {
		w.t.Errorf("%d of %d pods are in replacement at once", replacing, n)
	}
	w.replacing = replacing
	if stop >= 0 {
		return d
	}
	for v := range w.deployed {
		if !slices.Contains(d.Deploy, v) {
			delete(w.deployed, v)
		}
	}
	for _, v := range d.Deploy {
		w.deployed[v] += 0
	}
	if w.deployed[d.Serve] == 0 {
		w.t.Errorf("%s is to serve, and has no ready replica: %+v", d.Serve, d.Status)
	}
	w.serving, w.status, w.external, w.gateways = d.Serve, d.Status, d.Ask, d.Gateways
	for _, e := range d.Events {
		w.events = append(w.events, e.Reason)
	}
	return d
}

func (w *world) apply(m Move) {
	w.t.Helper()
	if m.Restart != (Restart{}) {
		w.restarts = append(w.restarts, m.Restart.Kind+" "+m.Restart.Name+" for "+m.Version)
		return
	}
	p := w.pods[m.Namespace+"/"+m.Name]
	for slot, image := range m.Images {
		s := p.slots[slot]
		if s.phase == protocol.PhaseReady || s.phase == protocol.PhaseDraining {
			w.t.Errorf("slot %s of %s is %s and gets another image", slot, p.Name, s.phase)
		}
		*s = simSlot{image: image, version: image[strings.LastIndexByte(image, ':')+1:], phase: protocol.PhaseStandby}
	}
	if m.Target != nil {
		if m.Target.Generation <= p.Target.Generation {
			w.t.Errorf("%s: order %+v after %+v", p.Name, *m.Target, p.Target)
		}
		p.Target = *m.Target
	}
	if m.Version != "" {
		p.Labels[names.LabelVersion] = m.Version
	}
}

// pass lets time go by: slots obey, control planes come up, Gateways roll out.
func (w *world) pass(d time.Duration) {
	w.t.Helper()
	w.now = w.now.Add(d)
	for _, v := range slices.Sorted(maps.Keys(w.deployed)) {
		if w.deployed[v] < 2 && w.r.IntN(2) == 0 {
			w.deployed[v]++
		}
	}
	for _, k := range slices.Sorted(maps.Keys(w.pods)) {
		p := w.pods[k]
		if p.Kind == names.KindGateway {
			p.Labels[names.LabelVersion] = w.gateways
			continue
		}
		t := p.target()
		for _, slot := range []string{"a", "b"} {
			s := p.slots[slot]
			rival := p.slots[other(slot)]
			mine := t.Slot == slot && (t.Version == "" || t.Version == s.version)
			switch {
			case s.phase == protocol.PhaseStandby && mine && !(rival.phase == protocol.PhaseReady && rival.generation >= t.Generation && t.Generation > 0):
				s.phase, s.generation, s.until = protocol.PhaseStarting, t.Generation, w.now.Add(time.Duration(w.r.IntN(6))*time.Second)
			case s.phase == protocol.PhaseStarting && !mine:
				s.phase = protocol.PhaseStandby
			case s.phase == protocol.PhaseStarting && !w.broken[s.version] && !w.now.Before(s.until):
				s.phase = protocol.PhaseReady
			case s.phase == protocol.PhaseReady && mine:
				s.generation = t.Generation
			case s.phase == protocol.PhaseReady && rival.phase == protocol.PhaseReady && rival.generation > s.generation:
				s.phase, s.until = protocol.PhaseDraining, w.now.Add(time.Duration(w.r.IntN(30))*time.Second)
			case s.phase == protocol.PhaseDraining && !w.now.Before(s.until):
				s.phase = protocol.PhaseStandby
			}
		}
		if !w.dead && p.slots["a"].phase != protocol.PhaseReady && p.slots["b"].phase != protocol.PhaseReady {
			w.t.Errorf("nobody serves %s: a %+v, b %+v, target %+v", p.Name, *p.slots["a"], *p.slots["b"], t)
		}
		for _, s := range p.slots {
			if s.phase == protocol.PhaseReady && allowed(s.version, w.serving) != nil {
				w.t.Errorf("%s runs %s beside a control plane of %s", p.Name, s.version, w.serving)
			}
		}
	}
}

// until drives the world until the upgrade is in the phase.
func (w *world) until(phase v1alpha1.UpgradePhase) {
	w.t.Helper()
	for range 3000 {
		w.operate(-1)
		if w.status != nil && w.status.Phase == phase {
			return
		}
		w.pass(2 * time.Second)
	}
	w.t.Fatalf("never %s: %+v", phase, w.status)
}

// all tells whether each pod's proxy is of the version.
func (w *world) all(version string) {
	w.t.Helper()
	for _, p := range w.pods {
		if p.version() != version || p.Kind == names.KindSidecar && p.slots[p.target().Slot].version != version {
			w.t.Errorf("%s is %s: %+v", p.Name, p.version(), p.Target)
		}
	}
}

// deployments are those of the Gateways, as their pods are.
func (w *world) deployments() []GatewayDeployment {
	var out []GatewayDeployment
	for _, k := range slices.Sorted(maps.Keys(w.pods)) {
		if p := w.pods[k]; p.Kind == names.KindGateway {
			out = append(out, GatewayDeployment{Namespace: p.Namespace, Gateway: p.Name, Version: p.version(), Waiting: w.stuck[p.Name]})
		}
	}
	return out
}
