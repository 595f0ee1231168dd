// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/test/load"
)

// TestUpgradeSample: the mesh that the demo begins with is of a release before the newest, from which
// there is a direct way.
func TestUpgradeSample(t *testing.T) {
	text, err := os.ReadFile("../../" + upgradeSample)
	if err != nil {
		t.Fatal(err)
	}
	m := &v1alpha1.Mesh{}
	if err := yaml.UnmarshalStrict(text, m); err != nil {
		t.Fatal(err)
	}
	if m.Name != meshName || m.Spec.Version != before() || before() == release.Current {
		t.Errorf("Mesh %s of %s, want %s of %s", m.Name, m.Spec.Version, meshName, before())
	}
	if err := release.Allowed(m.Spec.Version, release.Current); err != nil {
		t.Error(err)
	}
}

func meshAt(change func(*v1alpha1.Mesh)) *v1alpha1.Mesh {
	m := &v1alpha1.Mesh{}
	m.Generation, m.Status.ObservedGeneration = 2, 2
	m.Spec.Version, m.Status.Version = "0.3.0", "0.3.0"
	m.Status.Upgrade = &v1alpha1.UpgradeStatus{From: "0.2.0", To: "0.3.0", Phase: v1alpha1.PhaseCompleted}
	for _, c := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionUpgraded} {
		m.Status.Conditions = append(m.Status.Conditions, metav1.Condition{Type: c, Status: metav1.ConditionTrue})
	}
	change(m)
	return m
}

// TestOver: an upgrade is over when the mesh says so of this version and this generation, and is an
// error when it was rolled back.
func TestOver(t *testing.T) {
	for name, c := range map[string]struct {
		change     func(*v1alpha1.Mesh)
		over, fail bool
	}{
		"completed":         {func(*v1alpha1.Mesh) {}, true, false},
		"installed":         {func(m *v1alpha1.Mesh) { m.Status.Upgrade = nil }, true, false},
		"not looked at":     {func(m *v1alpha1.Mesh) { m.Generation = 3 }, false, false},
		"another was asked": {func(m *v1alpha1.Mesh) { m.Spec.Version = "0.4.0" }, false, false},
		"under way":         {func(m *v1alpha1.Mesh) { m.Status.Conditions[1].Status = metav1.ConditionFalse }, false, false},
		"not ready":         {func(m *v1alpha1.Mesh) { m.Status.Conditions[0].Status = metav1.ConditionFalse }, false, false},
		"the old serves":    {func(m *v1alpha1.Mesh) { m.Status.Version = "0.2.0" }, false, false},
		"rolled back":       {func(m *v1alpha1.Mesh) { m.Status.Upgrade.Phase = v1alpha1.PhaseRolledBack }, false, true},
		"rolled back, the last time": {func(m *v1alpha1.Mesh) {
			m.Status.Upgrade.Phase, m.Status.Upgrade.To = v1alpha1.PhaseRolledBack, "0.4.0"
		}, true, false},
	} {
		v := view{to: "0.3.0"}
		over, err := v.over(meshAt(c.change))
		if over != c.over || (err != nil) != c.fail {
			t.Errorf("%s: %v, %v", name, over, err)
		}
	}
}

// TestView: each phase and each judgement is a line once, and what an earlier upgrade said is none.
func TestView(t *testing.T) {
	v := view{to: "0.3.0"}
	var got []string
	show := func(change func(*v1alpha1.UpgradeStatus)) string {
		lines, live := v.next(meshAt(func(m *v1alpha1.Mesh) { change(m.Status.Upgrade) }))
		for _, l := range lines {
			got = append(got, strings.Fields(l)[0])
		}
		return live
	}
	show(func(u *v1alpha1.UpgradeStatus) { u.To = "0.2.0" })
	show(func(u *v1alpha1.UpgradeStatus) { u.Phase = v1alpha1.PhaseShadow })
	data := func(u *v1alpha1.UpgradeStatus) {
		u.Phase, u.Wave, u.Waves, u.Proxies, u.Replaced, u.Message = v1alpha1.PhaseDataPlane, 2, 5, 10, 3, "slot b is Starting"
		u.Gates = []v1alpha1.GateResult{{Wave: 1, Result: v1alpha1.GatePassed}}
	}
	live := show(data)
	show(data)
	show(func(*v1alpha1.UpgradeStatus) {})
	if d := cmp.Diff([]string{"Shadow", "wave", "DataPlane", "Completed"}, got); d != "" {
		t.Error(d)
	}
	if want := "DataPlane, wave 2 of 5, 3 of 10 proxies: slot b is Starting"; live != want {
		t.Errorf("%q, want %q", live, want)
	}
}

func shopPods() []corev1.Pod {
	var out []corev1.Pod
	for _, name := range []string{"web", "cart"} {
		p := corev1.Pod{}
		p.Name, p.UID, p.Labels = name, "1", map[string]string{names.LabelVersion: "0.3.0"}
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "app", RestartCount: 1}}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(time.Unix(1000, 0))}}
		out = append(out, p)
	}
	return out
}

// TestNoticed: each thing that an application could notice of an upgrade makes the demo fail, and so
// does a failed request.
func TestNoticed(t *testing.T) {
	for says, c := range map[string]struct {
		pods  func([]corev1.Pod) []corev1.Pod
		spoil func(*load.Summary)
	}{
		"":                          {},
		"1 pods are not there":      {pods: func(p []corev1.Pod) []corev1.Pod { return p[:1] }},
		"containers were restarted": {pods: func(p []corev1.Pod) []corev1.Pod { p[0].Status.ContainerStatuses[0].RestartCount++; return p }},
		"do not carry a proxy of":   {pods: func(p []corev1.Pod) []corev1.Pod { p[0].Labels[names.LabelVersion] = "0.2.0"; return p }},
		"pods changed their Ready": {pods: func(p []corev1.Pod) []corev1.Pod {
			p[0].Status.Conditions[0].LastTransitionTime = metav1.Now()
			return p
		}},
		"2 requests a failed: 503":   {spoil: func(s *load.Summary) { s.Failed, s.Failures = 2, map[string]int{"503": 2} }},
		"no request a succeeded":     {spoil: func(s *load.Summary) { s.OK = 0 }},
		"2 pods are not there any m": {pods: func(p []corev1.Pod) []corev1.Pod { p[0].UID, p[1].UID = "2", "3"; return p }},
	} {
		d := &demo{say: quiet(t)}
		sum := load.Summary{Sent: 100, OK: 100}
		after := shopPods()
		if c.spoil != nil {
			c.spoil(&sum)
		}
		if c.pods != nil {
			after = c.pods(after)
		}
		d.upgraded = upgraded{
			streams: []*stream{{name: "a", seen: []sample{{time.Now(), sum}}}}, before: shopPods(), after: after,
			mesh: meshAt(func(m *v1alpha1.Mesh) { m.Status.Upgrade.Replaced, m.Status.Upgrade.Proxies = 2, 2 }),
		}
		err := d.concludeUpgrade()
		if (err != nil) != (says != "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", says, err)
		}
	}
}
