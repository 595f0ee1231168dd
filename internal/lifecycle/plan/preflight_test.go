// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package plan

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/preflight"
	"tulle.dev/tulle/internal/lifecycle/release"
)

// runs is a cluster whose mesh runs 0.2.0 and is asked for 0.3.0 now.
func runs(t *testing.T) *cluster {
	t.Helper()
	c := working(t)
	if c.mesh.Status.Version != "0.2.0" {
		t.Fatalf("%+v", c.mesh.Status)
	}
	c.mesh.Spec.Version, c.mesh.Generation = "0.3.0", 2
	return c
}

// withNeeds is the catalog with what its releases need.
func withNeeds() release.Catalog {
	c := catalog()
	for i := range c {
		c[i].Kubernetes, c[i].Kinds = "1.29", []release.Kind{{Definition: "certificates.cert-manager.io", Version: "v1"}}
	}
	return c
}

// TestNothingIsTouchedWhileSomethingIsInTheWay: each obstacle of the ground holds the upgrade in its
// preflight and is told; once it has gone, the upgrade goes on by itself.
func TestNothingIsTouchedWhileSomethingIsInTheWay(t *testing.T) {
	quota := corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "q"}, Status: corev1.ResourceQuotaStatus{
		Hard: corev1.ResourceList{"pods": resource.MustParse("3")}, Used: corev1.ResourceList{"pods": resource.MustParse("2")},
	}}
	for words, g := range map[string]preflight.Ground{
		"it may not: patch pods":                 {Denied: []preflight.Right{{Verb: "patch", Resource: "pods"}}},
		"Kubernetes v1.20.0":                     {Kubernetes: "v1.20.0"},
		"2 of pods, where 1 is left":             {Quotas: []corev1.ResourceQuota{quota}},
		"certificates.cert-manager.io v1; inst":  {Unserved: withNeeds()[1].Kinds[:1]},
		"; release 0.3.0 reads kinds that the c": {Kubernetes: "v1.20.0", Unserved: withNeeds()[1].Kinds},
	} {
		c := runs(t)
		known := withNeeds()
		for range 5 {
			o := c.observe()
			o.Rollout.Ground = g
			p := Next(c.mesh, o, known, c.now)
			for _, s := range p.Steps {
				if strings.Contains(s.Name, "0.3.0") || len(s.Moves) > 0 {
					t.Errorf("%s: step %q was taken", words, s.Name)
				}
			}
			c.do(p, -1)
			c.now = c.now.Add(time.Second)
			u := c.mesh.Status.Upgrade
			if u == nil || u.Phase != v1alpha1.PhasePreflight || !strings.Contains(u.Message, "nothing was changed yet") || !strings.Contains(u.Message, words) {
				t.Fatalf("%s: %+v", words, u)
			}
		}
		c.do(Next(c.mesh, c.observe(), known, c.now), -1)
		if u := c.mesh.Status.Upgrade; u.Phase == v1alpha1.PhasePreflight {
			t.Errorf("%s: it has gone: %+v", words, u)
		}
	}
}

// TestPreflightIsWhenItMatters: what an upgrade stands on is asked for before it and not at rest, nor later.
func TestPreflightIsWhenItMatters(t *testing.T) {
	c := runs(t)
	asked := func() bool {
		_, _, is := Preflight(c.mesh, c.observe(), catalog())
		return is
	}
	if !asked() {
		t.Error("not before the first round")
	}
	for range 60 {
		if u := c.mesh.Status.Upgrade; u != nil && u.Phase != v1alpha1.PhasePreflight && asked() {
			t.Fatalf("in phase %s", u.Phase)
		}
		c.do(Next(c.mesh, c.observe(), catalog(), c.now), -1)
		for _, move := range c.others() {
			move()
		}
		c.now = c.now.Add(time.Second)
	}
	if u := c.mesh.Status.Upgrade; u == nil || u.Phase != v1alpha1.PhaseCompleted || asked() {
		t.Errorf("at rest: %v, %+v", asked(), u)
	}
	c.mesh.Spec.Version = "0.2.0"
	if !asked() {
		t.Error("not before the way back")
	}
	c.mesh.Spec.Version = "9.9.9"
	if asked() {
		t.Error("for a version that is not known")
	}
}

// TestBegins: nothing is asked for an upgrade that is not tried again, or that only turns round.
func TestBegins(t *testing.T) {
	ended := metav1.Now()
	for name, c := range map[string]struct {
		status *v1alpha1.UpgradeStatus
		want   bool
	}{
		"the first one":         {nil, true},
		"after another one":     {&v1alpha1.UpgradeStatus{From: "0.3.0", To: "0.2.0", Phase: v1alpha1.PhaseCompleted, Finished: &ended}, true},
		"in its preflight":      {&v1alpha1.UpgradeStatus{From: "0.2.0", To: "0.3.0", Phase: v1alpha1.PhasePreflight}, true},
		"later":                 {&v1alpha1.UpgradeStatus{From: "0.2.0", To: "0.3.0", Phase: v1alpha1.PhaseDataPlane}, false},
		"rolling back":          {&v1alpha1.UpgradeStatus{From: "0.2.0", To: "0.3.0", Phase: v1alpha1.PhaseRollingBack}, false},
		"rolled back":           {&v1alpha1.UpgradeStatus{From: "0.2.0", To: "0.3.0", Requested: "0.3.0", Phase: v1alpha1.PhaseRolledBack, Finished: &ended}, false},
		"asked for once more":   {&v1alpha1.UpgradeStatus{From: "0.2.0", To: "0.3.0", Requested: "0.2.0", Phase: v1alpha1.PhaseRolledBack, Finished: &ended}, true},
		"turned round":          {&v1alpha1.UpgradeStatus{From: "0.3.0", To: "0.2.0", Phase: v1alpha1.PhaseDataPlane}, false},
		"instead of a third":    {&v1alpha1.UpgradeStatus{From: "0.2.0", To: "0.1.1", Phase: v1alpha1.PhaseShadow}, true},
		"of a mesh catching up": {&v1alpha1.UpgradeStatus{From: "0.3.0", To: "0.2.0", Phase: v1alpha1.PhaseDataPlane, CatchUp: true}, true},
	} {
		if got := begins(c.status, "0.3.0"); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
