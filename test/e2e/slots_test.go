// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/testing/cluster"
)

// blow is a moment of a replacement, and whose container dies then. The pod's slot a serves, and slot b
// is ordered to, with the release before.
type blow struct {
	when, victim string
	// down: nobody serves until the victim is back, or the other slot helps out.
	down bool
	// lost is how many requests of either client may fail although somebody serves: those under way.
	lost int
}

// blows are dealt to one pod each, and to each container once, since the kubelet lets a container that
// dies for the second time wait.
func blows() [][]blow {
	return [][]blow{
		{{when: "before", victim: "b"}, {when: "draining", victim: "a", lost: inflight}},
		{{when: "before", victim: "a", down: true}, {when: "starting", victim: "b"}},
		{{when: "starting", victim: "a", down: true}, {when: "after", victim: "b", down: true}},
		{{when: "draining", victim: "b", down: true}, {when: "after", victim: "a"}},
	}
}

// comeback is how long a pod may be without a proxy that serves when the container of the one that
// did has died: the kubelet starts one that dies for the first time anew at once, and then Envoy starts.
// Quiet machines take 2 s.
const comeback = 15 * time.Second

// TestSlotsKilled kills either slot's container at each step of a replacement, in workloads with one
// replica. Whoever calls the pod does not miss a slot that does not serve; of the one that does, what
// was under way fails, and what comes until another serves. It comes back by itself, and the order is
// followed. (Whoever calls the Service of a single replica misses any container of it: the kubelet takes
// a pod for NotReady until each of its sidecars runs again.)
func TestSlotsKilled(t *testing.T) {
	t.Parallel() // it waits for the kubelet, most of the time
	c := cluster.Connect(t)
	c.Mesh(t, meshName())
	ns := c.Namespace(t, "killed", meshed)
	for i, list := range blows() {
		t.Run(list[0].when+" "+list[0].victim+", "+list[1].when+" "+list[1].victim, func(t *testing.T) {
			p := newSlotted(t, c, ns, fmt.Sprintf("server-%d", i), thePod)
			step := func(when string, calm func()) {
				for _, b := range list {
					if b.when == when {
						p.strike(b, calm)
					}
				}
			}
			ordered := func() { p.serves("b", 1) }
			step("before", func() { p.serves("a", 0) })
			p.order("b", older, p.imageOf(older))
			began := time.Now()
			p.reaches("b", protocol.PhaseStarting)
			step("starting", ordered)
			if list[0].when == "draining" || list[1].when == "draining" {
				p.reaches("a", protocol.PhaseDraining)
			}
			step("draining", ordered)
			ordered()
			t.Logf("ordered and done in %v", time.Since(began).Round(100*time.Millisecond))
			step("after", ordered)
			p.check(comeback)
		})
	}
}

// strike deals a blow, waits until all is as it should be again, and says what it cost.
func (p *slotted) strike(b blow, calm func()) {
	p.t.Helper()
	victim := p.slot(b.victim).PID
	before, began := p.progress(), time.Now()
	p.kill(victim)
	calm()
	took := time.Since(began)
	p.answers()
	for name, s := range p.progress() {
		failed := s.Failed - before[name].Failed
		p.t.Logf("killed %s %s, well again after %v; %s: %d requests failed", b.when, b.victim, took.Round(100*time.Millisecond), name, failed)
		if name == outside && !b.down && failed > b.lost {
			p.t.Errorf("%s: %d requests failed, at most %d may: %v", name, failed, b.lost, s.Failures)
		}
	}
}

// TestSlotsKilledAtOnce kills both slots of a pod at once, and again when they are back, which makes
// the kubelet wait before it starts them.
func TestSlotsKilledAtOnce(t *testing.T) {
	t.Parallel() // it waits for the kubelet, most of the time
	c := cluster.Connect(t)
	c.Mesh(t, meshName())
	ns := c.Namespace(t, "killed", meshed)
	p := newSlotted(t, c, ns, "both", thePod)
	for i := range 2 {
		began := time.Now()
		p.kill(p.slot("a").PID, p.slot("b").PID)
		p.serves("a", 0)
		t.Logf("crash %d: back after %v", i+1, time.Since(began).Round(100*time.Millisecond))
	}
	p.order("b", older, p.imageOf(older))
	p.serves("b", 1)
	p.check(30 * time.Second)
}

// TestSlotsRebooted ends the pod's sandbox, as a reboot of its node does, while its slots have
// different images: the one that was ordered serves afterwards.
func TestSlotsRebooted(t *testing.T) {
	t.Parallel() // it waits for the kubelet, most of the time
	c := cluster.Connect(t)
	c.Mesh(t, meshName())
	ns := c.Namespace(t, "rebooted", meshed)
	p := newSlotted(t, c, ns, "rebooted", theService)
	p.order("b", older, p.imageOf(older))
	p.serves("b", 1)
	before := p.slot("b").PID
	began := time.Now()
	p.kill(p.sandbox().PID)
	cluster.Eventually(t, time.Minute, "the slot is another process", func() error {
		if now, ok := p.find("b"); !ok || now.PID == before {
			return fmt.Errorf("process %d", now.PID)
		}
		return nil
	})
	p.serves("b", 1)
	p.answers()
	t.Logf("all is back after %v", time.Since(began).Round(100*time.Millisecond))
	p.check(45 * time.Second)
}

// TestSlotsBadImages gives the standby of a workload with one replica an image that can't be pulled,
// and one that can't be started; takes the order back; and goes forward again, to a release that crashed
// in that slot before. The slot that serves does not notice. (The pod is NotReady meanwhile, by the
// kubelet's rules, which is why an upgrade has each node pull and run the image first: see
// TestExitingRelease.)
func TestSlotsBadImages(t *testing.T) {
	t.Parallel() // it waits for the kubelet, most of the time
	c := cluster.Connect(t)
	c.Mesh(t, meshName())
	ns := c.Namespace(t, "badimages", meshed)
	p := newSlotted(t, c, ns, "server", thePod)
	for _, bad := range []struct{ name, image, says string }{
		{"an image that can't be pulled", "tulle.local/tulle-proxy:nowhere", "tulle-proxy:nowhere"},
		{"an image without the program", "tulle.local/echo:" + cluster.Tag(), protocol.SlotCommand},
	} {
		p.order("b", "0.3.9", bad.image)
		// The container's state keeps saying that it ended well.
		event(t, c, ns, "Pod", bad.says)
		if s := p.state("a"); s.Phase != protocol.PhaseReady || s.Generation >= p.generation {
			t.Errorf("slot a is %+v", s)
		}
		p.order("a", newer, "") // rolled back
		p.image("b", p.imageOf(newer))
		p.serves("a", p.generation)
	}
	// The release before crashes in slot b, again and again, until the kubelet lets it wait.
	p.order("b", older, p.imageOf(older))
	for i := range 2 {
		p.reaches("b", protocol.PhaseStarting)
		p.kill(p.slot("b").PID)
		t.Logf("crash %d", i+1)
	}
	p.order("a", newer, "")
	p.image("b", p.imageOf(newer))
	p.serves("a", p.generation)
	began := time.Now()
	p.order("b", older, p.imageOf(older))
	p.serves("b", p.generation)
	t.Logf("a tag that had crashed twice in that slot serves after %v", time.Since(began).Round(100*time.Millisecond))
	p.order("a", newer, p.imageOf(newer)) // and back, with an image of its own
	p.serves("a", p.generation)
	p.answers()
	if s := p.progress()[outside]; s.Failed > 0 {
		t.Errorf("%d of %d requests to the pod failed: %v", s.Failed, s.Sent, s.Failures)
	}
}

// repositoriesOf returns a function that patches the ClusterRole with the repositories that the operator may run, and has
// it patched back at the end.
func repositoriesOf(t *testing.T, c *cluster.Cluster, back string) func(string) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: names.ImagesRole}}
	set := func(p string) {
		t.Helper()
		if err := c.Patch(context.WithoutCancel(t.Context()), role, client.RawPatch(types.MergePatchType, []byte(p))); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { set(back) })
	return set
}

// TestExitingRelease: a release whose proxy image can't be started is stopped before any slot gets it,
// since the nodes are made to run it first. A workload with one replica does not notice.
func TestExitingRelease(t *testing.T) {
	c := cluster.Connect(t)
	c.Mesh(t, meshName())
	ns := c.Namespace(t, "exiting", meshed)
	p := newSlotted(t, c, ns, "server", theService)
	repositories := repositoriesOf(t, c, `{"metadata":{"annotations":{"tulle.dev/more-repositories":null}}}`)
	tellReleases(t, c, fmt.Sprintf(`[{version: 0.3.9, image: "tulle.local/tulle:%[1]s", proxyImage: "tulle.local/echo:%[1]s", envoy: 1.40.0}]`, cluster.Tag()))
	t.Cleanup(func() { edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = newer }) })
	edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = "0.3.9" })
	says := func(what, text string) {
		t.Helper()
		cluster.Eventually(t, 2*time.Minute, what, func() error {
			m := &v1alpha1.Mesh{}
			if err := c.Get(t.Context(), client.ObjectKey{Name: meshName()}, m); err != nil {
				return err
			}
			if u := m.Status.Upgrade; u == nil || u.Phase != v1alpha1.PhasePreflight || !strings.Contains(u.Message, text) {
				return fmt.Errorf("%+v", u)
			}
			return nil
		})
	}
	says("the preflight says that the repository is not one that the operator may run", names.ImagesRole)
	repositories(`{"metadata":{"annotations":{"tulle.dev/more-repositories":"tulle.local/echo"}}}`)
	says("the preflight says so", protocol.SlotCommand)
	edit(t, c, func(m *v1alpha1.Mesh) { m.Spec.Version = newer })
	upgradeOver(t, c)
	p.unfailed()
}

// check looks at all that became of the requests: between two answers, no client waited longer than limit.
func (p *slotted) check(limit time.Duration) {
	p.t.Helper()
	p.answers()
	for name, s := range p.progress() {
		p.t.Logf("%s: %d sent, %d failed %v, longest stall %.0f ms", name, s.Sent, s.Failed, s.Failures, s.LongestStall)
		if stall := time.Duration(s.LongestStall) * time.Millisecond; stall > limit {
			p.t.Errorf("%s: nobody served for %v, at most %v are allowed: %v", name, stall, limit, s.Failures)
		}
	}
}

// unfailed checks that no request failed at all.
func (p *slotted) unfailed() {
	p.t.Helper()
	p.answers()
	for name, s := range p.progress() {
		if s.Failed > 0 {
			p.t.Errorf("%s: %d of %d requests failed: %v", name, s.Failed, s.Sent, s.Failures)
		}
	}
}
