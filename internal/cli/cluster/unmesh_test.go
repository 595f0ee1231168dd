// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"tulle.dev/tulle/internal/cli/unmesh"
	"tulle.dev/tulle/internal/names"
)

func ownedBy(apiVersion, kind, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "a", OwnerReferences: []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, Controller: ptr(true)}}}
}

// meshedPod is a pod with the label of a proxy, and its container unless it only looks so.
func meshedPod(name string, proxy bool, meta metav1.ObjectMeta) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: meta}
	p.Namespace, p.Name, p.Labels = "a", name, map[string]string{names.LabelProxy: names.KindSidecar, "app": "web"}
	if proxy {
		p.Spec.InitContainers = []corev1.Container{{Name: names.ContainerSlotA}}
	}
	return p
}

// TestForgedOwners: whatever a tenant writes into labels and owners of pods, the plan of an uninstallation is made, and
// has only pods with a proxy and workloads that exist.
func TestForgedOwners(t *testing.T) {
	foreign := &appsv1.ReplicaSet{ObjectMeta: ownedBy("x.example/v1", "Deployment", "gone")}
	foreign.Name = "foreign"
	orphan := &appsv1.ReplicaSet{ObjectMeta: ownedBy("apps/v1", "Deployment", "gone")}
	orphan.Name = "orphan"
	good := &appsv1.ReplicaSet{ObjectMeta: ownedBy("apps/v1", "Deployment", "web")}
	good.Name = "good"
	web := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "web"}, Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}}
	c := &Cluster{typed: fake.NewClientset(
		foreign, orphan, good, web,
		meshedPod("bare", true, metav1.ObjectMeta{}),
		meshedPod("foreign", true, ownedBy("apps/v1", "ReplicaSet", "foreign")),
		meshedPod("orphan", true, ownedBy("apps/v1", "ReplicaSet", "orphan")),
		meshedPod("set", true, ownedBy("apps/v1", "StatefulSet", "gone")),
		meshedPod("path", true, ownedBy("apps/v1", "StatefulSet", "a/b")),
		meshedPod("long", true, ownedBy("apps/v1", "ReplicaSet", strings.Repeat("x", 1<<16))),
		meshedPod("good", true, ownedBy("apps/v1", "ReplicaSet", "good")),
		meshedPod("looks", false, ownedBy("apps/v1", "ReplicaSet", "good")),
	)}
	var s unmesh.Seen
	if err := c.meshed(t.Context(), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Pods) != 7 || !slices.Equal(s.Labelled, []string{"a/looks"}) || len(s.Workloads) != 1 || s.Workloads[0].Name != "web" {
		t.Errorf("%+v", s)
	}
	plan := unmesh.Next(s)
	var what []string
	for _, b := range plan.Blockers {
		if len(b.What) > 400 {
			t.Errorf("%d bytes", len(b.What))
		}
		what = append(what, b.What[:min(len(b.What), 55)])
	}
	want := []string{
		"Pod a/bare", "Pod a/foreign (ReplicaSet/foreign)", "Pod a/long (ReplicaSet/" + strings.Repeat("x", 32), "Pod a/orphan, whose Deployment gone does not exist",
		"Pod a/path (StatefulSet/a/b)", "Pod a/set, whose StatefulSet gone does not exist",
	}
	if !slices.Equal(what, want) {
		t.Errorf("blockers %q\nwant %q", what, want)
	}
	// The pod that only looks like one of a mesh is no reason to say that the restart was in vain.
	web.Status = appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}
	for proxy, inVain := range map[bool]bool{false: false, true: true} {
		c := &Cluster{typed: fake.NewClientset(web, meshedPod("new", proxy, ownedBy("apps/v1", "ReplicaSet", "good")))}
		if p, err := c.Restarted(t.Context(), unmesh.Ref{Kind: "Deployment", Namespace: "a", Name: "web"}); err != nil || p.InVain != inVain || p.Done == inVain {
			t.Errorf("%v: %+v, %v", proxy, p, err)
		}
	}
}
