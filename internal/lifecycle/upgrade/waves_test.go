// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
)

func wavesOf(selector string) []v1alpha1.Wave {
	s, err := metav1.ParseToLabelSelector(selector)
	if err != nil {
		panic(err)
	}
	all := int32(100)
	return []v1alpha1.Wave{{Selector: s}, {Percent: &all}}
}

func podsOf(sizes map[string]int) []Pod {
	var out []Pod
	for workload, n := range sizes {
		for k := range n {
			out = append(out, Pod{
				Namespace: "shop", Name: fmt.Sprintf("%s-%02d", workload, k), Workload: workload, Kind: names.KindSidecar, Ready: true,
				Labels: map[string]string{"app": workload},
			})
		}
	}
	return out
}

func lengths(waves [][]Pod) []int {
	var out []int
	for _, w := range waves {
		out = append(out, len(w))
	}
	return out
}

func TestWaves(t *testing.T) {
	half, all := int32(50), int32(100)
	for _, c := range []struct {
		name  string
		sizes map[string]int
		spec  []v1alpha1.Wave
		want  []int
	}{
		{"nothing", nil, nil, nil},
		{"one pod", map[string]int{"a": 1}, nil, []int{1}},
		{"two replicas lend no canary", map[string]int{"a": 2}, nil, []int{1, 1}},
		{"twenty of one", map[string]int{"a": 20}, nil, []int{1, 4, 5, 10}},
		{"single replicas come last", map[string]int{"a": 8, "b": 1, "c": 1}, nil, []int{1, 1, 2, 4, 2}},
		{"5 % of forty workloads", many(40, 3), nil, []int{2, 28, 30, 60}},
		{"as the spec says", map[string]int{"a": 4, "b": 4}, []v1alpha1.Wave{{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "b"}}, Percent: &half}, {Percent: &half}, {Percent: &all}}, []int{2, 2, 4}},
	} {
		waves, problem := Waves(c.spec, podsOf(c.sizes))
		if d := cmp.Diff(c.want, lengths(waves)); d != "" || problem != "" {
			t.Errorf("%s: (-want +got):\n%s%s", c.name, d, problem)
		}
	}
}

func many(workloads, replicas int) map[string]int {
	m := map[string]int{}
	for i := range workloads {
		m[fmt.Sprintf("w%d", i)] = replicas
	}
	return m
}

// TestWavesCoverAll: whatever the pods and the spec, everybody who takes part is in exactly one wave,
// the order of the list does not matter, and no half of a workload goes with the canaries.
func TestWavesCoverAll(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3)) //nolint:gosec // a test
		sizes := map[string]int{}
		for i := range r.IntN(12) {
			sizes[fmt.Sprintf("w%d", i)] = 1 + r.IntN(9)
		}
		pods := podsOf(sizes)
		for i := range pods {
			switch r.IntN(12) {
			case 0:
				pods[i].Order = names.UpgradeFirst
			case 1:
				pods[i].Order = names.UpgradeNever
			case 2:
				pods[i].Deleting = true
			}
		}
		var spec []v1alpha1.Wave
		if seed%2 == 0 {
			p, all := int32(1+r.IntN(100)), int32(100)
			spec = append(wavesOf("app=w1")[:1], v1alpha1.Wave{Percent: &p}, v1alpha1.Wave{Percent: &all})
		}
		waves, _ := Waves(spec, pods)
		seen := map[string]int{}
		for i, wave := range waves {
			for _, p := range wave {
				seen[p.key()]++
				if p.Order == names.UpgradeFirst && i != 0 {
					t.Errorf("seed %d: %s is not in the first wave", seed, p.Name)
				}
			}
		}
		for _, p := range pods {
			want := 1
			if !p.takesPart() {
				want = 0
			}
			if seen[p.key()] != want {
				t.Errorf("seed %d: %s is in %d waves, want %d", seed, p.Name, seen[p.key()], want)
			}
		}
		r.Shuffle(len(pods), func(i, j int) { pods[i], pods[j] = pods[j], pods[i] })
		again, _ := Waves(spec, pods)
		for i := range waves {
			if !slices.EqualFunc(waves[i], again[i], func(a, b Pod) bool { return a.key() == b.key() }) {
				t.Errorf("seed %d: wave %d depends on the order of the pods", seed, i)
			}
		}
	}
}

func TestWindows(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	night := v1alpha1.Window{Start: "22:00", Days: []v1alpha1.Day{"Monday"}, TimeZone: "Europe/Prague"}
	night.Duration.Duration = 4 * time.Hour
	for when, want := range map[string]bool{
		"2026-11-02T20:59:00Z": false, // Monday, 21:59 in Prague
		"2026-11-02T21:00:00Z": true,
		"2026-11-03T00:59:00Z": true, // Tuesday, but begun on Monday
		"2026-11-03T01:00:00Z": false,
		"2026-11-03T21:30:00Z": false, // Tuesday evening
	} {
		if got := open([]v1alpha1.Window{night}, at(when)); got != want {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	night.TimeZone = "Europe/Nowhere"
	if open([]v1alpha1.Window{night}, at("2026-11-02T21:00:00Z")) || CheckWindows([]v1alpha1.Window{night}) == "" {
		t.Error("an unknown time zone was taken")
	}
}

// TestCutReport: a proxy whose report the control plane cut is as one that does not report: the upgrade names it
// while it waits for it, and replaces the others. With its phase it is replaced as any other.
func TestCutReport(t *testing.T) {
	cut := func(in Input, change func(*Proxy)) Input {
		for i := range in.Proxies {
			if in.Proxies[i].Pod == in.Proxies[0].Pod {
				in.Proxies[i].Cut = true
				change(&in.Proxies[i])
			}
		}
		return in
	}
	w := newWorld(t, 12, 4)
	w.wanted = "0.3.0"
	w.until(v1alpha1.PhaseDataPlane)
	for range 20 {
		w.operate(-1)
		w.pass(2 * time.Second)
	}
	in := w.input()
	first := in.Proxies[0]
	goal := Goal{Version: "0.4.0"}
	var pod Pod
	for _, p := range in.Pods {
		if p.Name == first.Pod {
			pod = p
		}
	}
	pod.Ready = true
	silent := cut(w.input(), func(p *Proxy) { p.Phase, p.Version = "", "" })
	got := advance(pod, byPod(silent.Proxies)[pod.key()], goal, in.Clock)
	if got.stage != held || !strings.Contains(got.why, "was cut") {
		t.Errorf("without a phase: %+v", got)
	}
	none := advance(pod, nil, goal, in.Clock)
	if none.stage != got.stage {
		t.Errorf("one that does not report: %+v", none)
	}
	whole, short := advance(pod, byPod(in.Proxies)[pod.key()], goal, in.Clock), cut(w.input(), func(*Proxy) {})
	if got := advance(pod, byPod(short.Proxies)[pod.key()], goal, in.Clock); got.stage != whole.stage {
		t.Errorf("with its phase: %+v, want %+v", got, whole)
	}
}
