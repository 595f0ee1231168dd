// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

// forged is a pod that a tenant gave the labels and containers of a pod with a proxy.
func forged(kind string, containers ...string) Pod {
	yes := true
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "tenant", Name: "x", UID: "x", Labels: map[string]string{names.LabelProxy: kind, names.LabelVersion: "0.2.0"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: "x", UID: "y", Controller: &yes}},
	}}
	for _, c := range containers {
		p.Spec.InitContainers = append(p.Spec.InitContainers, corev1.Container{Name: c, Image: "proxy:0.2.0"})
	}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return PodFrom(p, "", "v1.36.0")
}

// TestForgedPods: pods that only look as if they had a proxy hold up no upgrade and no rollback for ever, and begin none.
func TestForgedPods(t *testing.T) {
	a, b := names.ContainerSlotA, names.ContainerSlotB
	for name, pod := range map[string]Pod{
		"a Gateway's labels":                {},
		"labels only":                       forged(names.KindSidecar),
		"a Gateway's labels and a proxy":    forged(names.KindGateway, a),
		"one slot of a StatefulSet":         forged(names.KindSidecar, a),
		"two slots":                         forged(names.KindSidecar, a, b),
		"the labels of a kind that is none": forged("x", a, b),
	} {
		t.Run(name, func(t *testing.T) {
			if pod.Name == "" {
				pod = forged(names.KindGateway)
			}
			w := newWorld(t, 41, 4, 1)
			w.add("gw-1", "shop/ReplicaSet/gw", "0.2.0", names.KindGateway)
			w.forged = []Pod{pod}
			w.wanted = "0.3.0"
			w.until(v1alpha1.PhaseCompleted)
			w.all("0.3.0")
			if named := strings.Contains(w.status.Message, "tenant/x goes on with 0.2.0 (no proxy of it is connected)"); named != (pod.Kind == names.KindSidecar) {
				t.Errorf("message %q", w.status.Message)
			}
			for range 20 {
				w.operate(-1)
				w.pass(time.Minute)
			}
			if w.status.Phase != v1alpha1.PhaseCompleted || w.status.CatchUp {
				t.Errorf("it began again: %+v", w.status)
			}

			w = newWorld(t, 42, 4, 1)
			w.add("gw-1", "shop/ReplicaSet/gw", "0.2.0", names.KindGateway)
			pod.Labels[names.LabelVersion] = "0.3.0" // as if it had been replaced
			w.forged = []Pod{pod}
			w.broken["0.3.0"] = true
			w.wanted = "0.3.0"
			w.until(v1alpha1.PhaseRolledBack)
			w.all("0.2.0")
			if named := strings.Contains(w.status.Message, "tenant/x goes on with 0.3.0 (no proxy of it is connected)"); named != (pod.Kind == names.KindSidecar) {
				t.Errorf("message %q", w.status.Message)
			}
		})
	}
}

// TestStuckGateway: a Gateway whose proxies can't be deployed is named, upgrade and rollback, and not waited for
// longer than ownersPatience.
func TestStuckGateway(t *testing.T) {
	w := newWorld(t, 43, 4, 1)
	w.add("gw-1", "shop/ReplicaSet/gw", "0.2.0", names.KindGateway)
	w.stuck = map[string]string{"gw-1": "0 of 1 new pods are Ready"}
	w.wanted = "0.3.0"
	named := "Gateway shop/gw-1: 0 of 1 new pods are Ready"
	var since time.Time
	for range 3000 {
		w.operate(-1)
		if strings.Contains(w.status.Message, "deployed anew: "+named) && since.IsZero() {
			since = w.now
		}
		if w.status.Finished != nil {
			break
		}
		w.pass(2 * time.Second)
	}
	if took := w.now.Sub(since); w.status.Phase != v1alpha1.PhaseCompleted || took < ownersPatience || took > ownersPatience+time.Minute || since.IsZero() {
		t.Errorf("after %s: %+v", took, w.status)
	}
	if !strings.Contains(w.status.Message, "not waiting any longer for "+named) || w.gateways != "0.3.0" {
		t.Errorf("%s, and Gateways of %s", w.status.Message, w.gateways)
	}

	w = newWorld(t, 44, 4, 1)
	w.add("gw-1", "shop/ReplicaSet/gw", "0.2.0", names.KindGateway)
	w.stuck = map[string]string{"gw-1": "0 of 1 new pods are Ready"}
	w.broken["0.3.0"] = true
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseRollingBack)
	reason, waited := "", false
	for range 3000 {
		w.operate(-1)
		if reason == "" {
			reason = Reason(w.status.Message)
		}
		if w.status.Finished != nil {
			break
		}
		if r := Reason(w.status.Message); r != reason || r == "" {
			t.Fatalf("the reason %q became %q", reason, r)
		}
		waited = waited || strings.HasSuffix(w.status.Message, rollbackWaits+named)
		w.pass(2 * time.Second)
	}
	if w.status.Phase != v1alpha1.PhaseRolledBack || !waited || !strings.HasPrefix(w.status.Message, reason+"; not waiting any longer for "+named) {
		t.Errorf("named while it waited: %v; %+v", waited, w.status)
	}
}

// TestSilentIsWaitedFor: while a replica of the control plane does not answer, no pod counts as one without a proxy.
func TestSilentIsWaitedFor(t *testing.T) {
	w := newWorld(t, 45, 4, 1)
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	w.silent = true
	for range 30 {
		w.operate(-1)
		w.pass(time.Minute)
	}
	if w.status.Phase != v1alpha1.PhaseDataPlane {
		t.Fatalf("%+v", w.status)
	}
	w.silent = false
	w.until(v1alpha1.PhaseCompleted)
	w.all("0.3.0")
}

// TestForgedPodsDoNotCount: spec.upgrade.maxUnavailable is of the pods that have a proxy.
func TestForgedPodsDoNotCount(t *testing.T) {
	w := newWorld(t, 46, 10)
	for i := range 100 {
		p := forged(names.KindSidecar, names.ContainerSlotA, names.ContainerSlotB)
		p.Name = fmt.Sprint("x", i)
		w.forged = append(w.forged, p)
	}
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	for range 1500 {
		ordered := 0
		for _, m := range w.operate(-1).Moves {
			if m.Images != nil && m.Target != nil {
				ordered++
			}
		}
		if ordered > 1 {
			t.Fatalf("%d of 10 proxies are replaced at once", ordered)
		}
		w.pass(2 * time.Second)
	}
	w.all("0.3.0")
}

// TestLargePods: what is kept of a pod is small, whatever a tenant wrote into it.
func TestLargePods(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	yes := true
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: "tenant", Name: "x", Labels: map[string]string{names.LabelProxy: names.KindSidecar, names.LabelVersion: "0.2.0"},
		Annotations:     map[string]string{names.AnnotationRestart: long, names.AnnotationTarget: `{"slot":"a","version":"` + long + `"}`},
		OwnerReferences: []metav1.OwnerReference{{Kind: "StatefulSet", Name: long, Controller: &yes}},
	}}
	for i := range 1000 {
		p.Labels[fmt.Sprintf("l%d", i)] = strings.Repeat("x", 60)
	}
	p.Spec.InitContainers = []corev1.Container{{Name: names.ContainerSlotA, Image: long}, {Name: names.ContainerSlotB, Image: "b"}}
	p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: names.ContainerSlotB, State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: long}}}}
	got := PodFrom(p, "", "")
	if text := fmt.Sprintf("%+v", got); len(text) > 8<<10 {
		t.Errorf("%d bytes are kept", len(text))
	}
	if got.version() != "0.2.0" || got.Restart != (Restart{}) || got.A.Image != "" || got.Kind != names.KindSidecar {
		t.Errorf("%+v", got)
	}
}

// TestGatewayFrom: which state of a Deployment means that its rollout has ended.
func TestGatewayFrom(t *testing.T) {
	two := int32(2)
	for name, c := range map[string]struct {
		status appsv1.DeploymentStatus
		says   string
	}{
		"done":               {appsv1.DeploymentStatus{ObservedGeneration: 3, Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2}, ""},
		"not observed":       {appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2}, "changed a moment ago"},
		"no new pod":         {appsv1.DeploymentStatus{ObservedGeneration: 3, Replicas: 2, ReadyReplicas: 2}, "0 of 2 new pods are created"},
		"an old pod":         {appsv1.DeploymentStatus{ObservedGeneration: 3, Replicas: 3, UpdatedReplicas: 2, ReadyReplicas: 3}, "1 former pods"},
		"a pod is not Ready": {appsv1.DeploymentStatus{ObservedGeneration: 3, Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 1}, "1 of 2 new pods are Ready"},
	} {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Generation: 3}, Status: c.status}
		d.Spec.Replicas = &two
		d.Spec.Template.Labels = map[string]string{names.LabelVersion: "0.3.0"}
		got := GatewayFrom(d, "gw")
		if (got.Waiting == "") != (c.says == "") || !strings.Contains(got.Waiting, c.says) || got.Version != "0.3.0" || got.Gateway != "gw" || got.Namespace != "shop" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
