// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package unmesh

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

func deployment(ns, name string, replicas int32) Workload {
	return Workload{Ref: Ref{"Deployment", ns, name}, Replicas: replicas}
}

// TestWaves: they grow, single ones come last, and the namespaces that ask for proxies are known.
func TestWaves(t *testing.T) {
	s := Seen{Mesh: &v1alpha1.Mesh{}}
	s.Mesh.Name = "tulle"
	s.Mesh.Spec.Injection.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "a"}}
	s.Namespaces = []Namespace{
		{"b", map[string]string{names.LabelInject: names.InjectEnabled}},
		{"a", map[string]string{"team": "a"}},
		{"empty", map[string]string{names.LabelInject: names.InjectEnabled}},
		{"left", map[string]string{names.LabelInject: names.InjectDisabled, "team": "a"}},
		{"other", nil},
	}
	s.Workloads = append(s.Workloads, deployment("a", "single", 1), deployment("other", "labelled", 2))
	for i := range 12 {
		s.Workloads = append(s.Workloads, deployment("b", fmt.Sprintf("w%02d", i), 3))
	}
	p := Next(s)
	var sizes []int
	var last Ref
	seen := map[Ref]bool{}
	for _, w := range p.Waves {
		sizes = append(sizes, len(w.Workloads))
		for _, r := range w.Workloads {
			seen[r] = true
			last = r
		}
	}
	if d := cmp.Diff([]int{1, 2, 4, 7}, sizes); d != "" || len(seen) != 14 || last.Name != "single" {
		t.Errorf("%s, %d workloads, the last is %s", d, len(seen), last)
	}
	if d := cmp.Diff([]string{"a", "b", "empty"}, p.Namespaces); d != "" || p.Mesh != "tulle" || len(p.Blockers) > 0 {
		t.Errorf("%s %+v", d, p)
	}
}

// TestWavesAreBounded: however many there are, no more than a few are restarted at once.
func TestWavesAreBounded(t *testing.T) {
	var s Seen
	for i := range 100 {
		s.Workloads = append(s.Workloads, deployment("a", fmt.Sprintf("w%03d", i), 2))
	}
	n := 0
	for _, w := range Next(s).Waves {
		n += len(w.Workloads)
		if len(w.Workloads) > maxWave {
			t.Errorf("%d at once", len(w.Workloads))
		}
	}
	if n != 100 {
		t.Errorf("%d of 100", n)
	}
}

// TestPermissive: plaintext has to be permitted only where it is not, and somebody is in the mesh.
func TestPermissive(t *testing.T) {
	for _, c := range []struct {
		mode v1alpha1.MTLSMode
		pods int
		want bool
	}{{v1alpha1.MTLSStrict, 1, true}, {v1alpha1.MTLSStrict, 0, false}, {v1alpha1.MTLSPermissive, 1, false}} {
		s := Seen{Mesh: &v1alpha1.Mesh{}, Pods: make([]Pod, c.pods)}
		s.Mesh.Spec.MTLS.Mode = c.mode
		if got := Next(s).Permissive; got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if Next(Seen{Pods: make([]Pod, 1)}).Permissive {
		t.Error("without a Mesh")
	}
}

// TestBlockers: each says what its owner can do, and none of them is restarted.
func TestBlockers(t *testing.T) {
	stuck, fixed := deployment("a", "stuck", 2), deployment("a", "fixed", 2)
	stuck.Stuck, fixed.Fixed = "its rollouts are paused", true
	p := Next(Seen{
		Workloads: []Workload{stuck, fixed, deployment("a", "good", 1)},
		Pods: []Pod{
			{Namespace: "a", Name: "bare"},
			{Namespace: "a", Name: "job-1", OwnedBy: "Job/job"},
			{Namespace: "a", Name: "good-1", Owner: Ref{"Deployment", "a", "good"}},
		},
		Gateways: []string{"Gateway a/front"}, Routes: []string{"HTTPRoute a/split"},
	})
	var what []string
	for _, b := range p.Blockers {
		what = append(what, b.What)
		if b.Do == "" {
			t.Errorf("%s: what can be done?", b.What)
		}
	}
	want := []string{"Deployment a/fixed", "Deployment a/stuck", "Gateway a/front", "HTTPRoute a/split", "Pod a/bare", "Pod a/job-1 (Job/job)"}
	if d := cmp.Diff(want, what); d != "" {
		t.Error(d)
	}
	if len(p.Waves) != 1 || len(p.Waves[0].Workloads) != 1 || p.Waves[0].Workloads[0].Name != "good" {
		t.Errorf("%+v", p.Waves)
	}
	if !strings.Contains(p.Blockers[1].Do, "paused") {
		t.Errorf("%+v", p.Blockers[1])
	}
}
