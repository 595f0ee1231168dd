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

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// TestUpgradeAndBack goes through all phases, and back by writing the old version.
func TestUpgradeAndBack(t *testing.T) {
	w := newWorld(t, 1, 5, 3, 1, 1)
	w.add("gw-1", "shop/ReplicaSet/gw", "0.2.0", names.KindGateway)
	for _, version := range []string{"0.3.0", "0.2.0"} {
		w.wanted, w.judged = version, 0
		for _, phase := range []v1alpha1.UpgradePhase{v1alpha1.PhaseDataPlane, v1alpha1.PhaseCompleted} {
			w.until(phase)
		}
		w.all(version)
		if w.judged != int(w.status.Waves)-1 {
			t.Errorf("%d waves were judged, want %d", w.judged, w.status.Waves-1)
		}
		if len(w.deployed) != 1 || w.deployed[version] != 2 {
			w.operate(-1)
			if len(w.deployed) != 1 {
				t.Errorf("control planes: %v", w.deployed)
			}
		}
		for _, p := range w.pods {
			if p.Kind == names.KindSidecar && (p.slots["a"].version != version || p.slots["b"].version != version) {
				t.Errorf("%s still needs another release's image", p.Name)
			}
		}
	}
}

// TestBadReleases are stopped in the first wave and rolled back, and stay so.
func TestBadReleases(t *testing.T) {
	for name, make := range map[string]func(*world){
		"never ready": func(w *world) { w.broken["0.3.0"] = true },
		"fails its gate": func(w *world) {
			w.verdict = func([]Seen, []Seen) (v1alpha1.GateVerdict, string) { return v1alpha1.GateFailed, "20 % failed" }
		},
	} {
		w := newWorld(t, 2, 20, 10, 1)
		make(w)
		w.wanted = "0.3.0"
		w.until(v1alpha1.PhaseRollingBack)
		moved := 0
		for _, p := range w.pods {
			if p.Target.Slot != "" {
				moved++
			}
		}
		if moved != 1 {
			t.Errorf("%s: %d pods were touched, want the first wave's one", name, moved)
		}
		w.until(v1alpha1.PhaseRolledBack)
		w.all("0.2.0")
		if w.status.Message == "" {
			t.Errorf("%s: no reason", name)
		}
		for range 100 {
			w.operate(-1)
			w.pass(10 * time.Second)
		}
		if w.status.Phase != v1alpha1.PhaseRolledBack || w.serving != "0.2.0" || len(w.deployed) != 1 {
			t.Errorf("%s: it did not stay rolled back: %+v, serving %s, %v", name, w.status, w.serving, w.deployed)
		}
		// Asked for the old version and then the new one, now a good one, it tries again.
		w.broken, w.verdict = nil, func([]Seen, []Seen) (v1alpha1.GateVerdict, string) { return v1alpha1.GatePassed, "" }
		w.wanted = "0.2.0"
		w.operate(-1)
		w.wanted = "0.3.0"
		w.until(v1alpha1.PhaseCompleted)
		w.all("0.3.0")
	}
}

// TestServiceDeleted: what serves is not mistaken when the Service has gone; least of all does a release
// come back that was rolled back.
func TestServiceDeleted(t *testing.T) {
	w := newWorld(t, 11, 4)
	w.broken["0.3.0"] = true
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseRolledBack)
	in := w.input()
	in.Serving = ""
	if d := Next(in); d.Serve != "0.2.0" || len(d.Deploy) != 1 || d.Deploy[0] != "0.2.0" {
		t.Errorf("serves %s, deploys %v", d.Serve, d.Deploy)
	}
	w = newWorld(t, 12, 4)
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	in = w.input()
	in.Serving = ""
	if d := Next(in); d.Serve != "0.3.0" || len(d.Deploy) != 2 {
		t.Errorf("serves %s, deploys %v", d.Serve, d.Deploy)
	}
}

// TestRollbackNever stops where it is, until the version is set back.
func TestRollbackNever(t *testing.T) {
	w := newWorld(t, 3, 20)
	w.spec.Rollback = v1alpha1.RollbackNever
	w.broken["0.3.0"] = true
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	for range 100 {
		w.operate(-1)
		w.pass(5 * time.Second)
	}
	if w.status.Phase != v1alpha1.PhaseDataPlane || !strings.Contains(w.status.Message, "rollback is Never") {
		t.Errorf("%+v", w.status)
	}
	w.wanted = "0.2.0"
	w.until(v1alpha1.PhaseRolledBack)
	w.all("0.2.0")
}

// TestNothingIsTouchedBefore: what preflight and shadow find stops an upgrade before any change.
func TestNothingIsTouchedBefore(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Input)
		phase  v1alpha1.UpgradePhase
		say    string
	}{
		"an obstacle":    {func(in *Input) { in.Obstacles = []string{"node n has no image"} }, v1alpha1.PhasePreflight, "node n has no image"},
		"no answer":      {func(in *Input) { in.Complete = false }, v1alpha1.PhasePreflight, "does not answer"},
		"a rejection":    {func(in *Input) { in.Proxies[0].Rejected, in.Proxies[0].Nacks = 1, []string{"duplicate address"} }, v1alpha1.PhasePreflight, "duplicate address"},
		"an empty wave":  {func(in *Input) { in.Spec.Waves = wavesOf("app=nobody") }, v1alpha1.PhasePreflight, "picks no pod"},
		"a rejection to": {func(in *Input) { in.Difference.Rejected = []string{"HTTPRoute shop/cart: no"} }, v1alpha1.PhaseShadow, "HTTPRoute shop/cart: no"},
		"not compared":   {func(in *Input) { in.Difference = nil }, v1alpha1.PhaseShadow, "comparing"},
		"paused":         {func(in *Input) { in.Spec.Paused = true }, v1alpha1.PhasePreflight, "paused"},
	} {
		w := newWorld(t, 4, 3)
		w.wanted, w.deployed["0.3.0"] = "0.3.0", 2
		in := w.input()
		in.Difference = &Difference{Summary: "nothing"}
		c.change(&in)
		d := Next(in)
		if d.Status.Phase != c.phase || !strings.Contains(d.Status.Message, c.say) || d.Serve != "0.2.0" || len(d.Moves) > 0 {
			t.Errorf("%s: %+v serves %s, %d moves", name, d.Status, d.Serve, len(d.Moves))
		}
	}
}

// TestSilence: while no control plane answers, nothing is moved, and nothing is taken for done.
func TestSilence(t *testing.T) {
	w := newWorld(t, 5, 4)
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	for range 5 {
		w.operate(-1)
		w.pass(2 * time.Second)
	}
	w.silent = true
	wave := w.status.Wave
	for range 200 {
		if d := w.operate(-1); len(d.Moves) > 0 {
			t.Fatalf("moves %+v", d.Moves)
		}
		w.pass(2 * time.Second)
	}
	if w.status.Phase != v1alpha1.PhaseDataPlane || w.status.Wave != wave {
		t.Fatalf("went on in silence: %+v", w.status)
	}
	w.silent = false
	w.until(v1alpha1.PhaseCompleted)
	w.all("0.3.0")
}

// TestPartialSilence: while one replica does not answer, no slot gets another image: it may still have
// connections, and be known to that replica alone.
func TestPartialSilence(t *testing.T) {
	w := newWorld(t, 13, 4)
	w.wanted = "0.3.0"
	images := func(d Decision) (n int) {
		for _, m := range d.Moves {
			n += len(m.Images)
		}
		return n
	}
	met := 0
	for range 300 {
		in := w.input()
		if images(Next(in)) > 0 {
			met++
			in.Complete = false
			if d := Next(in); images(d) > 0 {
				t.Errorf("%+v", d.Moves)
			}
		}
		w.operate(-1)
		w.pass(2 * time.Second)
	}
	if met < 4 {
		t.Errorf("only %d rounds would have changed an image", met)
	}
}

// TestLeftOut: pods that opted out, can't be replaced or are not Ready don't hold an upgrade up, and
// are told; the last are replaced once they are Ready.
func TestLeftOut(t *testing.T) {
	w := newWorld(t, 6, 4, 1, 1, 1)
	w.pods["shop/w1-0"].Order = names.UpgradeNever
	w.pods["shop/w2-0"].Obstacle = "it has no slots"
	w.pods["shop/w3-0"].Ready = false
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseCompleted)
	for _, say := range []string{"w1-0 goes on with 0.2.0 (label tulle.dev/upgrade=never)", "w2-0 goes on with 0.2.0 (it has no slots)", "w3-0 goes on with 0.2.0 (it is not Ready)"} {
		if !strings.Contains(w.status.Message, say) {
			t.Errorf("%q does not say %q", w.status.Message, say)
		}
	}
	w.pods["shop/w3-0"].Ready = true
	w.operate(-1)
	w.pass(time.Second)
	w.until(v1alpha1.PhaseCompleted)
	if got := w.pods["shop/w3-0"].version(); got != "0.3.0" {
		t.Errorf("the straggler is %s", got)
	}
}

// TestRestarts: pods that can't be replaced in place are made anew by their workloads, once each, in
// their wave, and the wave waits for them.
func TestRestarts(t *testing.T) {
	w := newWorld(t, 10, 4, 3)
	for k, p := range w.pods {
		if strings.HasPrefix(k, "shop/w1") {
			p.Obstacle, p.Restart = "it has no second slot", Restart{Kind: "StatefulSet", Name: "w1"}
		}
	}
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	for range 30 {
		w.operate(-1)
		w.pass(2 * time.Second)
	}
	if n := len(w.restarts); n == 0 || w.restarts[0] != "StatefulSet w1 for 0.3.0" || w.status.Phase != v1alpha1.PhaseDataPlane {
		t.Fatalf("restarts %v, %+v", w.restarts, w.status)
	}
	for k, p := range w.pods {
		if strings.HasPrefix(k, "shop/w1") {
			p.Labels[names.LabelVersion] = "0.3.0"
			*p.slots["a"] = simSlot{image: "proxy:0.3.0", version: "0.3.0", phase: protocol.PhaseReady}
		}
	}
	w.until(v1alpha1.PhaseCompleted)
	w.all("0.3.0")
}

// TestRestartedAgain: pods that a restart created while injection was still led to the former release are
// replaced by another restart; those that still come from the template before ask for no further one, and
// neither do pods whose proxy is part of the template.
func TestRestartedAgain(t *testing.T) {
	at := time.Unix(1000, 0)
	due := func(name, template string, age int) Move {
		return Move{Namespace: "shop", Name: name, Restart: Restart{Kind: "Deployment", Name: "web"}, Template: template, Created: at.Add(time.Duration(age) * time.Second)}
	}
	other := Move{Namespace: "shop", Name: "db-0", Restart: Restart{Kind: "StatefulSet", Name: "db"}, Template: "r1"}
	for name, c := range map[string]struct {
		due  []Move
		want []string
	}{
		"the first restart":     {[]Move{due("web-1", "h0", 0), due("web-2", "h0", 1), other}, []string{"h0", "r1"}},
		"under way":             {[]Move{due("web-2", "h0", 1)}, []string{"h0"}},
		"new pods of the old":   {[]Move{due("web-2", "h0", 1), due("web-3", "h1", 9)}, []string{"h1"}},
		"in any order":          {[]Move{due("web-3", "h1", 9), other, due("web-2", "h0", 1)}, []string{"h1", "r1"}},
		"replaced in the place": {[]Move{{Namespace: "shop", Name: "cart"}}, nil},
	} {
		var got []string
		for _, m := range restarts(c.due) {
			got = append(got, m.Template)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: restarts for pods of %v, want %v", name, got, c.want)
		}
	}
	w := newWorld(t, 10, 4, 3)
	for k, p := range w.pods {
		if strings.HasPrefix(k, "shop/w1") {
			p.Obstacle, p.Restart, p.RestartedFor = "it has no second slot", Restart{Kind: "StatefulSet", Name: "w1"}, "0.3.0"
		}
	}
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseCompleted)
	if len(w.restarts) != 0 || !strings.Contains(w.status.Message, "w1-0 goes on with 0.2.0 (it has no second slot)") {
		t.Errorf("restarts %v, %q", w.restarts, w.status.Message)
	}
}

// TestOutsideOfWindows: replacements begin within a window only.
func TestOutsideOfWindows(t *testing.T) {
	w := newWorld(t, 7, 4)
	w.spec.Windows = []v1alpha1.Window{{Start: "22:00"}}
	w.spec.Windows[0].Duration.Duration = 4 * time.Hour
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	w.operate(-1)
	if !strings.Contains(w.status.Message, "window") {
		t.Errorf("%+v", w.status)
	}
	w.now = w.now.Truncate(24 * time.Hour).Add(25*time.Hour + 30*time.Minute) // half past one
	w.until(v1alpha1.PhaseCompleted)
}

// TestExternalGate is asked once a wave has soaked, and each wave anew.
func TestExternalGate(t *testing.T) {
	w := newWorld(t, 8, 4)
	w.spec.Gates.External = &v1alpha1.ExternalGate{URL: "http://check"}
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseCompleted)
	if len(w.status.Gates) != int(w.status.Waves)-1 || w.status.Gates[0].Message != "200" {
		t.Errorf("%+v", w.status.Gates)
	}
}

// TestNoEvidence goes on or waits, as the spec says, and is no pass.
func TestNoEvidence(t *testing.T) {
	w := newWorld(t, 9, 4)
	w.verdict = func([]Seen, []Seen) (v1alpha1.GateVerdict, string) { return v1alpha1.GateNoEvidence, "3 requests" }
	w.spec.Gates.OnNoEvidence = v1alpha1.OnNoEvidencePause
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	for range 300 {
		w.operate(-1)
		w.pass(2 * time.Second)
	}
	if w.status.Wave != 1 || !strings.Contains(w.status.Message, "3 requests") {
		t.Errorf("%+v", w.status)
	}
	w.spec.Gates.OnNoEvidence = v1alpha1.OnNoEvidenceContinue
	w.until(v1alpha1.PhaseCompleted)
	if w.status.Gates[0].Result != v1alpha1.GateNoEvidence {
		t.Errorf("%+v", w.status.Gates)
	}
}

// TestAnything drives worlds of all sizes by random moves: the operator is stopped anywhere, versions
// are edited again and again, releases are bad, pods come and go. The invariants are the world's; in
// the end every world comes to rest with all proxies of one version.
func TestAnything(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed, 1+int(seed%13), 1+int(seed%4), 1)
			w.broken["0.4.0"] = seed%2 == 0
			versions := []string{"0.2.0", "0.3.0", "0.4.0"}
			for range 400 {
				switch n := w.r.IntN(100); {
				case n == 0:
					if v := versions[w.r.IntN(3)]; allowed(w.serving, v) == nil { // as the admission holds it
						w.wanted = v
					}
				case n < 3:
					w.add(fmt.Sprintf("new-%d", len(w.pods)), "shop/ReplicaSet/new", w.serving, names.KindSidecar)
				case n < 5 && len(w.pods) > 1:
					keys := slices.Sorted(maps.Keys(w.pods))
					delete(w.pods, keys[w.r.IntN(len(keys))])
				case n < 50:
					w.operate(w.r.IntN(3))
				default:
					w.operate(-1)
				}
				w.pass(time.Duration(w.r.IntN(5000)) * time.Millisecond)
			}
			for range 3000 {
				w.operate(-1)
				if w.status == nil || w.status.Phase == v1alpha1.PhaseCompleted && w.status.To == w.wanted ||
					w.status.Phase == v1alpha1.PhaseRolledBack {
					break
				}
				w.pass(2 * time.Second)
			}
			if w.status != nil && w.status.Finished == nil {
				t.Fatalf("does not come to rest, at %v: %+v", w.now, w.status)
			}
			w.all(w.serving)
		})
	}
}
