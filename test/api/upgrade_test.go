// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/mesh"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/shadow"
	"tulle.dev/tulle/internal/lifecycle/upgrade"
	"tulle.dev/tulle/internal/protocol"
)

// played are asked by every operator of this package.
var played playedReplicas

// playedReplicas are those of the control plane. Without a pod to play they are the real ones, of which
// there are none here.
type playedReplicas struct {
	mu sync.Mutex
	// pod carries the one proxy, which obeys at once; nil: none is played. refuses is a release whose
	// proxies refuse their configuration.
	pod     *corev1.Pod
	refuses string
}

func (r *playedReplicas) play(pod *corev1.Pod, refuses string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pod, r.refuses = pod, refuses
}

func (r *playedReplicas) Proxies(ctx context.Context, pods []corev1.Pod) ([]upgrade.Proxy, *float64, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pod == nil {
		return mesh.NewDebug(admin, system, "").Proxies(ctx, pods)
	}
	p := &corev1.Pod{}
	if err := admin.Get(ctx, client.ObjectKeyFromObject(r.pod), p); err != nil {
		return nil, nil, false
	}
	target := protocol.Target{Slot: "a", Version: p.Labels["tulle.dev/version"]}
	if a := p.Annotations["tulle.dev/target"]; a != "" && json.Unmarshal([]byte(a), &target) != nil {
		return nil, nil, false
	}
	x := upgrade.Proxy{Namespace: p.Namespace, Pod: p.Name, Slot: target.Slot, Version: target.Version, Phase: protocol.PhaseReady}
	if x.Version == r.refuses {
		x.Rejected, x.Nacks = 1, []string{"Listener x: no such filter"}
	}
	return []upgrade.Proxy{x}, nil, true
}

func (r *playedReplicas) Difference(ctx context.Context, before, after []corev1.Pod) (*shadow.Difference, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pod == nil {
		return mesh.NewDebug(admin, system, "").Difference(ctx, before, after)
	}
	return &shadow.Difference{}, nil
}

// upgradeIsTold: an upgrade that fails and goes back, and one that ends, each tell what happened as
// events of the Mesh, each thing once, however many rounds the operator does.
func upgradeIsTold(t *testing.T) {
	const other = "0.2.0"
	namespace(t, "told", nil)
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "told", Name: "a", Labels: map[string]string{"tulle.dev/proxy": "gateway", "tulle.dev/version": release.Current}},
		Spec: corev1.PodSpec{
			InitContainers: []corev1.Container{
				{Name: "tulle-proxy-a", Image: "tulle.test/proxy:1", RestartPolicy: ptr(corev1.ContainerRestartPolicyAlways)},
				{Name: "tulle-proxy-b", Image: "tulle.test/proxy:1", RestartPolicy: ptr(corev1.ContainerRestartPolicyAlways)},
			},
			Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1"}},
		},
	}
	if err := admin.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		played.play(nil, "")
		if err := admin.Delete(context.Background(), p, client.GracePeriodSeconds(0)); err != nil {
			t.Error(err)
		}
	})
	// The webhook, which nothing answers, is asked about new pods with a sidecar.
	update(t, p, func() { p.Labels["tulle.dev/proxy"] = "sidecar" })
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if err := admin.Status().Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}

	seen := told(t)
	played.play(p, other)
	edit(t, "tulle", func(m *v1alpha1.Mesh) {
		m.Spec.Version, m.Spec.Upgrade.Soak = other, metav1.Duration{Duration: time.Second}
	})
	serve(t, system, "tulle-controlplane-0-2-0", 2)
	upgradePhase(t, v1alpha1.PhaseRolledBack)
	way := "from " + release.Current + " to " + other
	back := "from " + other + " to " + release.Current
	why := "wave 1 failed: the proxy of pod told/a rejects 1 of its resources: Listener x"
	same(t, seen, []string{
		"Normal UpgradeStarted " + way,
		"Normal UpgradePhase " + way + ": Shadow",
		"Normal UpgradePhase " + way + ": ControlPlane",
		"Normal UpgradePhase " + way + ": DataPlane",
		"Normal UpgradePhase " + way + ": RollingBack",
		"Warning RollingBack " + back + ": " + why,
		"Warning RolledBack " + why,
	})

	// It is not tried again, until the version changes.
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Version = release.Current })
	condition(t, "tulle", v1alpha1.ConditionUpgraded, metav1.ConditionTrue, v1alpha1.ReasonUpToDate)
	seen = told(t)
	played.play(p, "")
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Version = other })
	serve(t, system, "tulle-controlplane-0-2-0", 2)
	upgradePhase(t, v1alpha1.PhaseCompleted)
	same(t, seen, []string{
		"Normal UpgradeStarted " + way,
		"Normal UpgradePhase " + way + ": Shadow",
		"Normal UpgradePhase " + way + ": ControlPlane",
		"Normal UpgradePhase " + way + ": DataPlane",
		"Normal WavePassed 1 of 2: NoEvidence",
		"Normal UpgradeCompleted 1 of 1 proxies were replaced",
	})

	// Back to where the other parts of this test go on.
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Version = release.Current })
	serve(t, system, controlPlane, 2)
	eventually(t, "the mesh runs "+release.Current, func() string {
		m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
		there(t, m)
		if u := m.Status.Upgrade; u == nil || u.To != release.Current || u.Phase != v1alpha1.PhaseCompleted {
			return fmt.Sprintf("%+v", u)
		}
		return ""
	})
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}

func upgradePhase(t *testing.T, want v1alpha1.UpgradePhase) {
	t.Helper()
	eventually(t, "the upgrade is "+string(want), func() string {
		m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
		there(t, m)
		if m.Status.Upgrade == nil || m.Status.Upgrade.Phase != want || m.Status.Upgrade.Requested != m.Spec.Version {
			return fmt.Sprintf("%+v", m.Status.Upgrade)
		}
		return ""
	})
}

// told are the events of the Mesh, by name.
func told(t *testing.T) map[string]eventsv1.Event {
	t.Helper()
	var list eventsv1.EventList
	if err := admin.List(t.Context(), &list); err != nil {
		t.Fatal(err)
	}
	out := map[string]eventsv1.Event{}
	for _, e := range list.Items {
		if e.Regarding.Kind == "Mesh" && e.Regarding.Name == "tulle" {
			out[e.Name] = e
		}
	}
	return out
}

// same waits for the events since then, in any order: beginnings of "TYPE REASON NOTE". Two more rounds
// of the operator add none to them.
func same(t *testing.T, before map[string]eventsv1.Event, want []string) {
	t.Helper()
	slices.Sort(want)
	since := func() []string {
		var out []string
		for name, e := range told(t) {
			old, was := before[name]
			if was && cmp.Equal(old.Series, e.Series) || !strings.HasPrefix(e.Reason, "Upgrade") && e.Reason != "WavePassed" && !strings.HasPrefix(e.Reason, "Roll") {
				continue
			}
			line := e.Type + " " + e.Reason + " " + e.Note
			if e.Series != nil {
				line += fmt.Sprintf(" (%d times)", e.Series.Count)
			}
			for _, w := range want {
				if strings.HasPrefix(line, w) && e.Series == nil {
					line = w
				}
			}
			out = append(out, line)
		}
		slices.Sort(out)
		return out
	}
	eventually(t, "the events", func() string { return cmp.Diff(want, since()) })
	for range 2 {
		edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Upgrade.Soak.Duration += time.Second })
		condition(t, "tulle", v1alpha1.ConditionValid, metav1.ConditionTrue, v1alpha1.ReasonValid)
	}
	if d := cmp.Diff(want, since()); d != "" {
		t.Errorf("after two more rounds (-want +got):\n%s", d)
	}
}
