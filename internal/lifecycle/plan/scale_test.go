// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/missing"
	"tulle.dev/tulle/internal/names"
)

// installed is a cluster with a mesh that is Ready.
func installed(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t)
	c.certMan, c.gateway = true, true
	for range 60 {
		c.do(Next(c.mesh, c.observe(), catalog(), c.now), -1)
		for _, move := range c.others() {
			move()
		}
		c.now = c.now.Add(time.Second)
	}
	if r := reason(c.mesh, v1alpha1.ConditionReady); r != v1alpha1.ReasonReady {
		t.Fatalf("not Ready but %s", r)
	}
	return c
}

// TestAutoscaling: the number of replicas follows proxies and CPU, up at once and down one by one, and
// the Mesh's status is all that is remembered.
func TestAutoscaling(t *testing.T) {
	c := installed(t)
	percent := int32(80)
	c.mesh.Spec.ControlPlane.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: 2, MaxReplicas: 6, ProxiesPerReplica: 500, TargetCPUPercent: &percent}
	for _, step := range []struct {
		name    string
		after   time.Duration
		proxies int32 // -1: unknown
		cpu     float64
		want    int64
	}{
		{"few proxies", 0, 10, 0.01, 2},
		{"many proxies", time.Second, 1600, 0.01, 4},
		{"too many", time.Second, 9000, 0.01, 6},
		{"few again", time.Second, 100, 0.01, 6},
		{"for four minutes", 4 * time.Minute, 100, 0.01, 6},
		{"for five", time.Minute, 100, 0.01, 5},
		{"for another five: begins", time.Second, 100, 0.01, 5},
		{"nobody knows", 5 * time.Minute, -1, 0, 5},
		{"so it begins anew", time.Second, 100, 0.01, 5},
		{"and then", 5 * time.Minute, 100, 0.01, 4},
		// A replica requests 50m, and 80 % of it are 40m.
		{"CPU", time.Second, 100, 0.2, 5},
	} {
		c.now = c.now.Add(step.after)
		o := c.observe()
		if step.proxies >= 0 {
			o.Proxies.Connected, o.CPU = &step.proxies, &step.cpu
		}
		p := Next(c.mesh, o, catalog(), c.now)
		c.do(p, -1)
		d := c.objects["Deployment "+ns+"/"+names.ControlPlaneDeployment("0-2-0")]
		if got, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas"); got != step.want {
			t.Errorf("%s: %d replicas, want %d", step.name, got, step.want)
		}
		if s := c.mesh.Status.ControlPlane.Autoscaling; s == nil || int64(s.Replicas) != step.want {
			t.Errorf("%s: status says %+v", step.name, s)
		}
	}
	c.mesh.Spec.ControlPlane.Autoscaling = nil
	c.do(Next(c.mesh, c.observe(), catalog(), c.now), -1)
	d := c.objects["Deployment "+ns+"/"+names.ControlPlaneDeployment("0-2-0")]
	if got, _, _ := unstructured.NestedInt64(d.Object, "spec", "replicas"); got != 2 || c.mesh.Status.ControlPlane.Autoscaling != nil {
		t.Errorf("without autoscaling: %d replicas, %+v", got, c.mesh.Status.ControlPlane)
	}
}

// TestEvictsPodsWithoutProxy: only where the Mesh wants it, on what was seen just now, and while
// somebody injects those that come instead.
func TestEvictsPodsWithoutProxy(t *testing.T) {
	c := installed(t)
	old := missing.Pod{Namespace: "shop", Name: "web-0", Workload: "web", Created: c.now.Add(-time.Hour)}
	evicted := func(policy v1alpha1.MissingPolicy, fresh bool) int {
		c.mesh.Spec.Injection.Missing = policy
		o := c.observe()
		o.Missing = Missing{Pods: []missing.Pod{old}, Fresh: fresh}
		p := Next(c.mesh, o, catalog(), c.now)
		if p.Status.Proxies.Missing != 1 {
			t.Errorf("status counts %d", p.Status.Proxies.Missing)
		}
		n := 0
		for _, s := range p.Steps {
			n += len(s.Evict)
		}
		return n
	}
	if n := evicted(v1alpha1.MissingEvict, true); n != 1 {
		t.Errorf("Evict evicts %d", n)
	}
	if n := evicted(v1alpha1.MissingEvict, false); n != 0 {
		t.Errorf("what was seen a while ago is evicted: %d", n)
	}
	if n := evicted(v1alpha1.MissingIgnore, true); n != 0 {
		t.Errorf("Ignore evicts %d", n)
	}
	c.ready[names.ControlPlaneDeployment("0-2-0")] = 0
	if n := evicted(v1alpha1.MissingEvict, true); n != 0 {
		t.Errorf("evicted with nobody to inject the successor: %d", n)
	}
}
