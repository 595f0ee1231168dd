// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/load"
)

// inflight is how many requests each client of a slotted pod has under way at most.
const inflight = 8

// The clients of a slotted pod.
const (
	inside  = "in the mesh"
	outside = "outside of the mesh"
)

// address is what the client outside of the mesh calls.
type address int

const (
	thePod     address = iota
	theService         // since the pod's address changes
)

// slotted is the one pod of a workload, called by a client in the mesh and one outside of it.
type slotted struct {
	t          *testing.T
	c          *cluster.Cluster
	ns, name   string
	workload   string // the Deployment
	uid        types.UID
	generation int64                      // of the last order
	known      map[string]cluster.Process // first processes by slot, as last found

	meshed *cluster.Run
	mu     sync.Mutex
	plain  load.Summary // guarded by mu
}

// newSlotted deploys the workload, leaves it alone as far as the operator goes, and starts the clients.
// The one in the mesh calls the Service. The one outside of it is this process, and as a rule
// calls the pod itself: what happens to it is the proxy's doing alone, whatever the kubelet thinks of the
// pod's readiness.
func newSlotted(t *testing.T, c *cluster.Cluster, ns, name string, target address) *slotted {
	t.Helper()
	c.Deploy(t, ns, cluster.Echo{Name: name, Unprobed: true, Labels: []string{names.LabelUpgrade + ": " + names.UpgradeNever}})
	c.Ready(t, ns, name)
	pod := c.Pods(t, ns, "app="+name)[0]
	p := &slotted{t: t, c: c, ns: ns, name: pod.Name, workload: name, uid: pod.UID, known: map[string]cluster.Process{}}
	url := "http://" + pod.Status.PodIP + ":8080/"
	if target == theService {
		svc := &corev1.Service{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, svc); err != nil {
			t.Fatal(err)
		}
		url = "http://" + svc.Spec.ClusterIP + "/"
	}
	p.serves("a", 0)
	p.meshed = c.Load(t, ns, true, "-url", "http://"+name+"/", "-method", "POST", "-rate", "25", "-workers", strconv.Itoa(inflight), "-timeout", "5s", "-duration", "30m")
	t.Cleanup(p.stop)
	ended := make(chan error, 1)
	go func() {
		_, err := load.Run(t.Context(), load.Options{
			URL: url, Method: "POST", Rate: 25, Workers: inflight, NewConnections: true,
			Timeout: 5 * time.Second, Duration: 30 * time.Minute, Every: 100 * time.Millisecond,
			Progress: func(s load.Summary) {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.plain = s
			},
		})
		ended <- err
	}()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	p.meshed.Sent(t, 50)
	return p
}

// stop ends the client in the mesh, and the workload, so that what comes next has the machine for itself.
func (p *slotted) stop() {
	ctx := context.WithoutCancel(p.t.Context())
	deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: p.ns, Name: p.workload}}
	for _, err := range []error{p.meshed.Stop(ctx), p.c.Delete(ctx, deployment)} {
		if client.IgnoreNotFound(err) != nil {
			p.t.Error(err)
		}
	}
}

// progress is what became of the requests until now, by client.
func (p *slotted) progress() map[string]load.Summary {
	p.t.Helper()
	within, ok := p.meshed.Progress(p.t.Context())
	if !ok {
		p.t.Fatal("nothing is known of the client in the mesh")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return map[string]load.Summary{inside: within, outside: p.plain}
}

// answers waits until either client has had fifty answers in a row.
func (p *slotted) answers() {
	p.t.Helper()
	began := p.progress()
	cluster.Eventually(p.t, time.Minute, "fifty answers in a row", func() error {
		now := p.progress()
		for name, s := range now {
			if s.Failed > began[name].Failed {
				began = now
			}
			if s.OK < began[name].OK+50 {
				return fmt.Errorf("%s: %d sent, %d failed: %v", name, s.Sent, s.Failed, s.Failures)
			}
		}
		return nil
	})
}

func (p *slotted) get() *corev1.Pod {
	p.t.Helper()
	pod := &corev1.Pod{}
	if err := p.c.Get(p.t.Context(), client.ObjectKey{Namespace: p.ns, Name: p.name}, pod); err != nil {
		p.t.Fatal(err)
	}
	return pod
}

// container is the name of a slot's.
func container(slot string) string {
	return map[string]string{"a": names.ContainerSlotA, "b": names.ContainerSlotB}[slot]
}

// imageOf is a release's image of the proxy.
func (p *slotted) imageOf(version string) string {
	p.t.Helper()
	if version == older {
		return "tulle.local/tulle-proxy:" + older
	}
	for _, k := range p.get().Spec.InitContainers {
		if k.Name == names.ContainerInit {
			return k.Image // never replaced
		}
	}
	p.t.Fatal("the pod has no proxy")
	return ""
}

// order tells the pod which slot is to be active, as the operator does: one patch, with the slot's image
// unless that is empty.
func (p *slotted) order(slot, version, image string) {
	p.t.Helper()
	p.generation++
	target, err := json.Marshal(protocol.Target{Slot: slot, Generation: p.generation, Version: version})
	if err != nil {
		p.t.Fatal(err)
	}
	p.patch(map[string]string{names.AnnotationTarget: string(target)}, slot, image)
}

// image replaces the image of a slot.
func (p *slotted) image(slot, image string) { p.t.Helper(); p.patch(nil, slot, image) }

func (p *slotted) patch(annotations map[string]string, slot, image string) {
	p.t.Helper()
	metadata := map[string]any{"uid": p.uid}
	if annotations != nil { // null would take all of them away
		metadata["annotations"] = annotations
	}
	patch := map[string]any{"metadata": metadata}
	if image != "" {
		patch["spec"] = map[string]any{"initContainers": []map[string]string{{"name": container(slot), "image": image}}}
	}
	body, err := json.Marshal(patch)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.c.Patch(p.t.Context(), p.get(), client.RawPatch(types.StrategicMergePatchType, body)); err != nil {
		p.t.Fatal(err)
	}
}

// problem is what the kubelet says of a slot that does not run.
func (p *slotted) problem(slot string) string {
	p.t.Helper()
	return upgrade.ProblemOf(p.get().Status.InitContainerStatuses, container(slot))
}

// find finds the first process of a slot's container.
func (p *slotted) find(slot string) (cluster.Process, bool) {
	p.t.Helper()
	if k, ok := p.known[slot]; ok && alive(k.PID) {
		return k, true
	}
	all := cluster.Processes(p.t, p.uid)
	i := slices.IndexFunc(all, func(k cluster.Process) bool {
		return slices.Equal(k.Args, []string{protocol.SlotCommand, "run"}) && k.Env[protocol.EnvSlot] == slot
	})
	if i < 0 {
		return cluster.Process{}, false
	}
	p.known[slot] = all[i]
	return all[i], true
}

// alive tells whether a process has not ended.
func alive(pid int) bool {
	args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && len(args) > 0
}

// slot waits for the first process of a slot's container.
func (p *slotted) slot(slot string) (found cluster.Process) {
	p.t.Helper()
	cluster.Eventually(p.t, 30*time.Second, "slot "+slot+" of "+p.name+" runs on this machine (this needs the embedded cluster)", func() error {
		var ok bool
		if found, ok = p.find(slot); !ok {
			return fmt.Errorf("the kubelet says %q", p.problem(slot))
		}
		return nil
	})
	return found
}

// sandbox is the process that keeps the pod's namespaces.
func (p *slotted) sandbox() cluster.Process {
	p.t.Helper()
	for _, k := range cluster.Processes(p.t, p.uid) {
		if k.Args[0] == "/pause" {
			return k
		}
	}
	p.t.Fatal("the pod has no sandbox on this machine (this needs the embedded cluster)")
	return cluster.Process{}
}

// kill ends containers, or the sandbox, by their first processes.
func (p *slotted) kill(pids ...int) {
	p.t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			p.t.Fatalf("kill %d: %v", pid, err)
		}
	}
	for _, pid := range pids {
		cluster.Eventually(p.t, 10*time.Second, "the process has ended", func() error {
			if alive(pid) {
				return fmt.Errorf("%d lives", pid)
			}
			return nil
		})
	}
}

// state is what a slot says of itself, in the directory that the slots share; zero: it does not run.
func (p *slotted) state(slot string) protocol.State {
	p.t.Helper()
	k, ok := p.find(slot)
	if !ok {
		return protocol.State{}
	}
	var s protocol.State
	// One that has begun just now has not written yet.
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/root%s", k.PID, protocol.StateFile(slot))); err == nil {
		if err := json.Unmarshal(b, &s); err != nil {
			p.t.Fatal(err)
		}
	}
	return s
}

// reaches waits until a slot is in the phase, under the last order or an earlier one.
func (p *slotted) reaches(slot string, phase protocol.Phase) {
	p.t.Helper()
	cluster.Eventually(p.t, 2*time.Minute, "slot "+slot+" is "+string(phase), func() error {
		if s := p.state(slot); s.Phase != phase {
			return fmt.Errorf("%+v; the kubelet says %q", s, p.problem(slot))
		}
		return nil
	})
}

// serves waits until a slot serves under the order of the generation, and the other one stands by.
func (p *slotted) serves(slot string, generation int64) {
	p.t.Helper()
	other := map[string]string{"a": "b", "b": "a"}[slot]
	cluster.Eventually(p.t, 2*time.Minute, "slot "+slot+" serves and slot "+other+" stands by", func() error {
		s, o := p.state(slot), p.state(other)
		if s.Phase != protocol.PhaseReady || s.Generation != generation || o.Phase != protocol.PhaseStandby {
			return fmt.Errorf("slot %s: %+v, slot %s: %+v; the kubelet says %q, %q", slot, s, other, o, p.problem(slot), p.problem(other))
		}
		return nil
	})
}
