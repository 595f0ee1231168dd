// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package routes

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/figures"
)

// births gathers when pods and Gateways came to be what they are to be. Safe for concurrent use.
type births struct {
	bell
	// ready is when each pod of an app (the label) or Gateway was first seen Ready, by app or Gateway and
	// in that order.
	ready map[string][]time.Time
	seen  map[string]bool // pods in ready, by name
	// running is when the first pod of a Gateway was seen to run.
	running map[string]time.Time
	// programmed is when a Gateway was.
	programmed map[string]time.Time
}

// watchBirths looks at the pods and Gateways of the namespace until the test ends. Conditions tell their
// times in whole seconds only.
func (w *world) watchBirths(t *testing.T) *births {
	t.Helper()
	b := &births{bell: newBell(), ready: map[string][]time.Time{}, seen: map[string]bool{}, running: map[string]time.Time{}, programmed: map[string]time.Time{}}
	pods, gateways := w.events(t, &corev1.PodList{}), w.events(t, &gwapiv1.GatewayList{})
	go func() {
		for e := range pods {
			if p, ok := e.Object.(*corev1.Pod); ok {
				b.pod(p, time.Now())
			}
		}
	}()
	go func() {
		for e := range gateways {
			if g, ok := e.Object.(*gwapiv1.Gateway); ok {
				b.gateway(g, time.Now())
			}
		}
	}()
	return b
}

func (b *births) pod(p *corev1.Pod, at time.Time) {
	of := p.Labels[names.LabelGateway]
	if of == "" {
		of = p.Labels["app"]
	}
	ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.running[of]; !ok && p.Status.Phase == corev1.PodRunning {
		b.running[of] = at
	}
	if !ready || b.seen[p.Name] {
		return
	}
	b.seen[p.Name] = true
	b.ready[of] = append(b.ready[of], at)
	b.ring()
}

func (b *births) gateway(g *gwapiv1.Gateway, at time.Time) {
	c := apimeta.FindStatusCondition(g.Status.Conditions, string(gwapiv1.GatewayConditionProgrammed))
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.programmed[g.Name]; ok || c == nil || c.Status != "True" || c.ObservedGeneration != g.Generation {
		return
	}
	b.programmed[g.Name] = at
	b.ring()
}

// gatewayResult is how the Gateways from one number to another came to be.
type gatewayResult struct {
	from, to int
	// ready and programmed are from the creation until the first pod is Ready, and until the Gateway is
	// Programmed.
	ready, programmed figures.Times
	// afterRunning and afterReady are from when the first pod runs, and is Ready, until the Gateway is
	// Programmed; 0 where that came before.
	afterRunning, afterReady figures.Times
	// plain is from the creation of a Deployment of so many pods, without a proxy, until the first is
	// Ready: what this cluster takes to start anything.
	plain figures.Times
}

// standing is how many Gateways there are at once at the most, because the pods' requests for CPU are
// more than a small machine has.
const standing = 10

// benchGateways creates Gateways one after another, and for one of three a plain Deployment to compare
// with.
func benchGateways(t *testing.T, w *world, sizes []int, end time.Time) []gatewayResult {
	t.Helper()
	b := w.watchBirths(t)
	var out []gatewayResult
	have := 0
	for i, size := range sizes {
		r := gatewayResult{from: have + 1}
		end := share(end, len(sizes)-i)
		for ; have < size && (len(r.ready) == 0 || time.Now().Before(end)); have++ {
			if (have+1-r.from)%3 == 0 {
				r.plain = append(r.plain, w.plainDeployment(t, b, fmt.Sprintf("plain-%d", have)))
			}
			if have >= standing {
				w.removeGateway(t, gatewayName(have-standing))
			}
			name := gatewayName(have)
			g := &gwapiv1.Gateway{ObjectMeta: meta(w.ns, name)}
			g.Spec.GatewayClassName = names.GatewayClass
			g.Spec.Listeners = []gwapiv1.Listener{{Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType}}
			begin := time.Now()
			if err := w.Create(t.Context(), g); err != nil {
				t.Fatal(err)
			}
			b.await(t, time.Minute, "Gateway "+name+" and all its pods are there", func() string {
				if _, ok := b.programmed[name]; ok && len(b.ready[name]) == gatewayReplicas {
					return ""
				}
				return fmt.Sprintf("%d pods are Ready, and Programmed is %v", len(b.ready[name]), !b.programmed[name].IsZero())
			})
			b.mu.Lock()
			running, ready, programmed := b.running[name], b.ready[name][0], b.programmed[name]
			b.mu.Unlock()
			r.ready = append(r.ready, ready.Sub(begin))
			r.programmed = append(r.programmed, programmed.Sub(begin))
			r.afterRunning = append(r.afterRunning, max(programmed.Sub(running), 0))
			r.afterReady = append(r.afterReady, max(programmed.Sub(ready), 0))
		}
		r.to = have
		out = append(out, r)
	}
	for i := max(have-standing, 0); i < have; i++ {
		w.removeGateway(t, gatewayName(i))
	}
	return out
}

func gatewayName(i int) string { return fmt.Sprintf("g%d", i) }

// removeGateway takes a Gateway away with all its pods, at once.
func (w *world) removeGateway(t *testing.T, name string) {
	t.Helper()
	if err := w.Delete(t.Context(), &gwapiv1.Gateway{ObjectMeta: meta(w.ns, name)}); err != nil {
		t.Fatal(err)
	}
	w.removePods(t, names.LabelGateway, name)
}

// plainDeployment tells how long the first of some pods takes to be Ready.
func (w *world) plainDeployment(t *testing.T, b *births, name string) time.Duration {
	t.Helper()
	e := cluster.Echo{
		Name: name, Replicas: gatewayReplicas, NoService: true,
		Labels: []string{names.LabelInject + ": " + names.InjectDisabled},
	}
	begin := time.Now()
	w.Deploy(t, w.ns, e)
	b.await(t, time.Minute, "the pods of "+name+" are Ready", func() string {
		if n := len(b.ready[name]); n < gatewayReplicas {
			return fmt.Sprintf("%d are", n)
		}
		return ""
	})
	if err := w.Delete(t.Context(), deployment(w.ns, name), client.PropagationPolicy(metav1.DeletePropagationBackground)); err != nil {
		t.Fatal(err)
	}
	w.removePods(t, "app", name)
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ready[name][0].Sub(begin)
}
