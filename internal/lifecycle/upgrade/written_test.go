// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// written is a pod without any proxy, with labels and annotations that its owner chose.
func written(uid int, version, image string, target protocol.Target) Pod {
	p := forged(names.KindSidecar, names.ContainerSlotA, names.ContainerSlotB)
	p.Name, p.UID, p.Workload = fmt.Sprint("x", uid), types.UID(fmt.Sprint("x", uid)), fmt.Sprint("tenant/Pod/x", uid)
	p.Labels = map[string]string{names.LabelProxy: names.KindSidecar, names.LabelVersion: version}
	p.Target, p.A.Image, p.B.Image = target, image, "proxy:0.3.0"
	return p
}

// TestWrittenByAnOwner: a pod without a proxy, whatever its owner wrote into its labels and annotations, and however
// often it is made anew, ends no upgrade, holds up none for long, and takes no place of a proxy.
func TestWrittenByAnOwner(t *testing.T) {
	far := time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, p := range map[string]struct {
		version, image string
		target         protocol.Target
	}{
		"ordered long ago":            {"0.2.0", "pause", protocol.Target{Slot: "a", Version: "0.3.0"}},
		"ordered in the future":       {"0.2.0", "pause", protocol.Target{Slot: "a", Version: "0.3.0", Since: far}},
		"sent back":                   {"0.3.0", "pause", protocol.Target{Slot: "a", Version: "0.2.0"}},
		"another order, image beside": {"0.2.0", "pause", protocol.Target{Slot: "a", Version: "9.9.9"}},
		"replaced, and silent":        {"0.3.0", "pause", protocol.Target{Slot: "b", Version: "0.3.0"}},
		"too far":                     {"9.9.9", "pause", protocol.Target{}},
	} {
		for _, bad := range []bool{false, true} {
			t.Run(fmt.Sprint(name, "/", bad), func(t *testing.T) {
				w := newWorld(t, 51, 10)
				w.wanted, w.broken["0.3.0"] = "0.3.0", bad
				want, version := v1alpha1.PhaseCompleted, "0.3.0"
				if bad {
					want, version = v1alpha1.PhaseRolledBack, "0.2.0"
				}
				n, made := 0, time.Time{}
				begun := w.now
				for range 3000 {
					if w.now.Sub(made) > 9*time.Minute { // a CronJob makes new ones
						w.forged, made = nil, w.now
						for range 20 {
							n++
							w.forged = append(w.forged, written(n, p.version, p.image, p.target))
						}
					}
					for _, m := range w.operate(-1).Moves {
						if m.Namespace == "tenant" {
							t.Fatalf("it is changed: %+v", m)
						}
					}
					if w.status.Finished != nil {
						break
					}
					w.pass(2 * time.Second)
				}
				if w.status.Phase != want || strings.Contains(w.status.Message, "did not get ready: tenant/") {
					t.Errorf("after %s: %+v", w.now.Sub(begun), w.status)
				}
				if took := w.now.Sub(begun); took > 30*time.Minute {
					t.Errorf("it took %s", took)
				}
				w.all(version)
			})
		}
	}
}

// TestWrittenVersion: which version a proxy is of is what it reports. A label that its pod's owner changes again and again
// begins nothing, and keeps nothing from ending; it is set right.
func TestWrittenVersion(t *testing.T) {
	w := newWorld(t, 52, 4, 1)
	loop := func() { w.pods["shop/w1-0"].Labels[names.LabelVersion] = "9.9.9" }
	for range 20 {
		loop()
		d := w.operate(-1)
		if d.Status != nil || len(d.Moves) != 1 || w.pods["shop/w1-0"].label() != "0.2.0" {
			t.Fatalf("%+v, label %s", d, w.pods["shop/w1-0"].label())
		}
		w.pass(2 * time.Second)
	}
	w.wanted = "0.3.0"
	for range 3000 {
		loop()
		w.operate(-1)
		if w.status.Finished != nil {
			break
		}
		w.pass(2 * time.Second)
	}
	for range 20 {
		loop()
		w.operate(-1)
		w.pass(2 * time.Second)
	}
	if w.status.Phase != v1alpha1.PhaseCompleted || w.status.CatchUp {
		t.Errorf("%+v", w.status)
	}
	w.all("0.3.0")
}

// TestReportedVersion: no label becomes what no release is called, whatever an agent reports.
func TestReportedVersion(t *testing.T) {
	w := newWorld(t, 59, 2)
	w.image = func(v string) string {
		if v != "0.2.0" {
			return ""
		}
		return "proxy:" + v
	}
	w.pods["shop/w0-0"].slots["a"].version = "not a label\n"
	w.pods["shop/w0-1"].Labels[names.LabelVersion] = "not a label\n"
	var labelled []string
	for _, m := range Next(w.input()).Moves {
		if m.Version != "" {
			labelled = append(labelled, m.Name+" "+m.Version)
		}
	}
	if !slices.Equal(labelled, []string{"w0-1 0.2.0"}) {
		t.Errorf("%q", labelled)
	}
}

// TestWrittenTooFar: another version may be asked for meanwhile, whatever the labels of pods without a proxy say; a proxy
// that is too far from it is named.
func TestWrittenTooFar(t *testing.T) {
	w := newWorld(t, 57, 4)
	w.forged = []Pod{written(1, "9.9.9", "pause", protocol.Target{})}
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	w.wanted = "0.3.1"
	w.operate(-1)
	if w.status.To != "0.3.1" {
		t.Errorf("%+v", w.status)
	}
	v := newWorld(t, 62, 3)
	v.pods["shop/w0-1"].Order = names.UpgradeNever
	v.wanted = "0.3.0"
	v.until(v1alpha1.PhaseCompleted)
	v.wanted = "0.4.0"
	for range 20 {
		v.operate(-1)
		v.pass(2 * time.Second)
	}
	if v.status.Phase != v1alpha1.PhasePreflight || !strings.Contains(v.status.Message, "Pod shop/w0-1 has 0.2.0, which is too far from 0.4.0") {
		t.Errorf("%+v", v.status)
	}
	w.wanted = "0.4.0"
	w.operate(-1)
	if w.status.To != "0.3.1" || !strings.Contains(w.status.Message, "Pod shop/w0-0 has 0.2.0") {
		t.Errorf("%+v", w.status)
	}
}

// TestWrittenGateways: how long a stuck Gateway is waited for is not prolonged by pods that come late.
func TestWrittenGateways(t *testing.T) {
	w := newWorld(t, 53, 4, 1)
	w.add("gw-1", "shop/ReplicaSet/gw", "0.2.0", names.KindGateway)
	w.stuck = map[string]string{"gw-1": "0 of 1 new pods are Ready"}
	w.wanted = "0.3.0"
	var since time.Time
	for i := range 3000 {
		w.operate(-1)
		if w.status.Finished != nil {
			break
		}
		if w.gateways == "0.3.0" && since.IsZero() {
			since = w.now
		}
		if !since.IsZero() && i%60 == 0 { // a real pod of the former release, each two minutes
			w.add(fmt.Sprintf("late-%d", i), "shop/ReplicaSet/late", "0.2.0", names.KindSidecar)
		}
		w.pass(2 * time.Second)
	}
	if took := w.now.Sub(since); w.status.Phase != v1alpha1.PhaseCompleted || since.IsZero() || took < ownersPatience || took > ownersPatience+3*time.Minute {
		t.Errorf("after %s: %+v", took, w.status)
	}
}

// TestRollbackOfAStuckProxy: a real proxy that does not go back is named and left after a while; it follows later.
func TestRollbackOfAStuckProxy(t *testing.T) {
	w := newWorld(t, 54, 4)
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	for w.status.Replaced < 2 {
		w.operate(-1)
		w.pass(2 * time.Second)
	}
	w.broken["0.2.0"] = true
	w.wanted = "0.2.0"
	w.until(v1alpha1.PhaseRollingBack)
	begun := w.now
	w.until(v1alpha1.PhaseRolledBack)
	if took := w.now.Sub(begun); took < ownersPatience || took > ownersPatience+5*time.Minute {
		t.Errorf("after %s", took)
	}
	if !strings.Contains(w.status.Message, "goes on with 0.3.0") && !strings.Contains(w.status.Message, "continues with 0.3.0") {
		t.Errorf("%q", w.status.Message)
	}
}

// TestCatchUpAfterARollback: a proxy that could not be seen while the mesh went back follows when it is connected, also
// while spec.version still asks for the release that failed; nothing of that release is deployed for it.
func TestCatchUpAfterARollback(t *testing.T) {
	w := newWorld(t, 55, 4)
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	for w.status.Replaced < 1 {
		w.operate(-1)
		w.pass(2 * time.Second)
	}
	var away *simPod
	for _, p := range w.pods {
		if p.label() == "0.3.0" && p.slots[other(p.target().Slot)].phase == protocol.PhaseStandby {
			away = p
		}
	}
	for away == nil {
		w.operate(-1)
		w.pass(2 * time.Second)
		for _, p := range w.pods {
			if p.label() == "0.3.0" && p.slots[other(p.target().Slot)].phase == protocol.PhaseStandby {
				away = p
			}
		}
	}
	w.broken["0.3.0"] = true
	away.slots[other(away.target().Slot)].image = "proxy:none" // else an order would be enough, heard or not
	w.away = map[string]bool{away.key(): true}
	w.until(v1alpha1.PhaseRolledBack)
	reason := w.status.Message
	if away.label() != "0.3.0" || !strings.Contains(reason, away.key()) {
		t.Fatalf("%s, %+v", away.label(), w.status)
	}
	w.away = nil
	for range 300 {
		if d := w.operate(-1); len(d.Deploy) != 1 || d.Deploy[0] != "0.2.0" {
			t.Fatalf("%+v", d)
		}
		w.pass(2 * time.Second)
	}
	if w.status.Phase != v1alpha1.PhaseRolledBack || w.status.CatchUp {
		t.Errorf("%+v", w.status)
	}
	w.all("0.2.0")
}

// TestNodesWithout: pods of a node that does not get the image keep their proxies, are named, and fail nothing; they
// follow when the node has it.
func TestNodesWithout(t *testing.T) {
	w := newWorld(t, 56, 6)
	for _, p := range w.pods {
		p.Node = "n1"
	}
	for _, k := range []string{"shop/w0-1", "shop/w0-3"} {
		w.pods[k].Node = "full"
	}
	w.without = []string{"full"}
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	begun := w.now
	w.until(v1alpha1.PhaseCompleted)
	if took := w.now.Sub(begun); took < ownersPatience {
		t.Errorf("it waited %s", took)
	}
	if got := w.status.Message; !strings.Contains(got, "w0-1") || !strings.Contains(got, "node full does not have the image of 0.3.0") {
		t.Errorf("%q", got)
	}
	at := map[string]string{}
	for k, p := range w.pods {
		at[k] = p.label()
	}
	if want := (map[string]string{"shop/w0-0": "0.3.0", "shop/w0-1": "0.2.0", "shop/w0-2": "0.3.0", "shop/w0-3": "0.2.0", "shop/w0-4": "0.3.0", "shop/w0-5": "0.3.0"}); !maps.Equal(at, want) {
		t.Errorf("%v", at)
	}
	for range 600 { // twenty minutes: the catching up waits, and does not begin again and again
		w.operate(-1)
		w.pass(2 * time.Second)
	}
	if w.status.Phase != v1alpha1.PhaseDataPlane || !w.status.CatchUp || !strings.Contains(w.status.Message, "node full") {
		t.Errorf("%+v", w.status)
	}
	w.without = nil
	w.until(v1alpha1.PhaseCompleted)
	w.all("0.3.0")
}

// TestRejectedByOneThatTakesNoPart: a proxy that rejects its configuration holds up the preflight, unless its pod takes no
// part: the administrator's way out.
func TestRejectedByOneThatTakesNoPart(t *testing.T) {
	for order, want := range map[string]v1alpha1.UpgradePhase{"": v1alpha1.PhasePreflight, names.UpgradeNever: v1alpha1.PhaseShadow} {
		w := newWorld(t, 58, 3)
		w.wanted = "0.3.0"
		w.pods["shop/w0-1"].Order = order
		in := w.input()
		for i := range in.Proxies {
			if in.Proxies[i].Pod == "w0-1" {
				in.Proxies[i].Rejected = 1
			}
		}
		if d := Next(in); d.Status.Phase != want || (want == v1alpha1.PhasePreflight) != strings.Contains(d.Status.Message, "shop/w0-1") {
			t.Errorf("%q: %+v", order, d.Status)
		}
	}
}

// TestRollbackOfBrokenProxies: proxies that took over and broke are all sent back, however few may be replaced at once,
// also if the operator is restarted meanwhile, or finds them when the rollback has ended.
func TestRollbackOfBrokenProxies(t *testing.T) {
	for name, c := range map[string]struct{ restart, late bool }{"in time": {}, "a restart of the operator": {restart: true}, "found later": {late: true}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 60, 60)
			one := intstr.FromInt32(1)
			w.wanted = "0.3.0"
			w.until(v1alpha1.PhaseCompleted)
			w.until(v1alpha1.PhaseCompleted)
			w.all("0.3.0")
			w.spec.MaxUnavailable = &one
			w.status.Phase, w.status.Finished = v1alpha1.PhaseDataPlane, nil
			w.status.From, w.status.To = "0.2.0", "0.3.0"
			w.deployed["0.2.0"] = 2
			w.dead = true
			for _, p := range w.pods { // what took over is broken, and the former image is still beside
				s, b := p.slots[p.target().Slot], p.slots[other(p.target().Slot)]
				s.phase, s.until = protocol.PhaseStarting, w.now.Add(1000*time.Hour)
				b.image, b.version, b.phase = "proxy:0.2.0", "0.2.0", protocol.PhaseStandby
				p.Ready = false
			}
			w.broken["0.3.0"] = true
			w.away = map[string]bool{}
			for k := range w.pods {
				w.away[k] = c.late
			}
			w.wanted = "0.2.0"
			if c.restart || c.late {
				w.memory = Memory{}
			}
			w.until(v1alpha1.PhaseRollingBack)
			begun := w.now
			w.until(v1alpha1.PhaseRolledBack)
			if took := w.now.Sub(begun); took > time.Minute && !c.late {
				t.Errorf("it took %s", took)
			}
			w.away = nil
			for range 60 {
				w.operate(-1)
				w.pass(2 * time.Second)
			}
			for k, p := range w.pods {
				if p.target().Version != "0.2.0" || p.slots[p.target().Slot].version != "0.2.0" {
					t.Errorf("%s is not sent back: %+v", k, p.Target)
				}
			}
		})
	}
}

// TestWatch: time in which the cluster could not be seen does not count, and other time does.
func TestWatch(t *testing.T) {
	var w Watch
	began := time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC)
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	var c Clock
	for s := 0; s <= 600; s += 2 {
		c = w.Look(at(s), s%100 != 50) // once in 100 s a replica does not answer
	}
	if got := c.watched(at(0)); got != 576*time.Second { // six times from the round before to the one after
		t.Errorf("%s", got)
	}
	if got := c.watched(at(551)); got != 48*time.Second {
		t.Errorf("within a gap: %s", got)
	}
	if got := c.from(at(500)).watched(at(0)); got != 96*time.Second {
		t.Errorf("of a phase: %s", got)
	}
	for s := 602; s < 2000; s += 2 {
		c = w.Look(at(s), s%4 == 0)
	}
	if got := c.watched(at(0)); len(c.Gaps) > mostGaps || got < 570*time.Second || got > 590*time.Second { // what was watched before still counts
		t.Errorf("%d gaps, %s", len(c.Gaps), got)
	}
}

// TestHungRestart: a restart that hangs does not keep other proxies from going back.
func TestHungRestart(t *testing.T) {
	w := newWorld(t, 63, 4, 1)
	one := intstr.FromInt32(1)
	w.spec.MaxUnavailable = &one
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseCompleted)
	w.status.Phase, w.status.Finished, w.status.From, w.deployed["0.2.0"] = v1alpha1.PhaseDataPlane, nil, "0.2.0", 2
	hung := w.pods["shop/w1-0"]
	hung.Obstacle, hung.Restart = "it has no second slot", Restart{"Deployment", "w1"}
	w.wanted = "0.2.0"
	for range 300 {
		w.operate(-1)
		w.pass(2 * time.Second)
	}
	if hung.label() != "0.3.0" || len(w.restarts) == 0 {
		t.Errorf("%s, restarts %d", hung.label(), len(w.restarts))
	}
	delete(w.pods, hung.key())
	w.all("0.2.0")
}
