// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/missing"
)

// podsWithoutProxy: a namespace is labelled when its pods run already. They are counted; and evicted
// where the Mesh says so, but only those that come back and that nothing keeps.
func podsWithoutProxy(t *testing.T) {
	namespace(t, "late", nil)
	web := readyPod(t, "web-0", "apps/v1", "StatefulSet")
	kept := readyPod(t, "kept-0", "apps/v1", "StatefulSet")
	job := readyPod(t, "job-0", "batch/v1", "Job")
	bare := pod(t, "late", "bare", nil)
	// No controller has looked at this budget yet, and so it allows nothing.
	budget := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Namespace: "late", Name: "kept"},
		Spec: policyv1.PodDisruptionBudgetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "kept-0"}}, MaxUnavailable: ptr(intstr.FromInt32(1)),
		},
	}
	if err := admin.Create(t.Context(), budget); err != nil {
		t.Fatal(err)
	}
	count := func(want int32) {
		t.Helper()
		eventually(t, "pods without a proxy", func() string {
			m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
			there(t, m)
			if m.Status.Proxies == nil || m.Status.Proxies.Missing != want {
				return cmp.Diff(want, m.Status.Proxies)
			}
			return ""
		})
	}
	count(0)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "late"}}
	update(t, ns, func() { ns.Labels["tulle.dev/inject"] = "enabled" })
	t.Cleanup(func() { update(t, ns, func() { delete(ns.Labels, "tulle.dev/inject") }) })
	count(4)
	c := condition(t, "tulle", v1alpha1.ConditionInjectionReady, metav1.ConditionTrue, v1alpha1.ReasonInjecting)
	if !strings.Contains(c.Message, "status.proxies.missing") {
		t.Errorf("the condition does not tell of them: %q", c.Message)
	}
	there(t, web) // Ignore is the default

	clock.Store(int64(5 * time.Minute)) // none of them is young
	t.Cleanup(func() { clock.Store(0) })
	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Injection.Missing = v1alpha1.MissingEvict })
	t.Cleanup(func() {
		edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Injection.Missing = v1alpha1.MissingIgnore })
	})
	gone(t, web)
	look(t)
	count(3)
	for _, p := range []*corev1.Pod{kept, job, bare} {
		there(t, p)
		if !p.DeletionTimestamp.IsZero() {
			t.Errorf("Pod %s was evicted", p.Name)
		}
	}
	// What kept the third one goes, and then it goes.
	if err := admin.Delete(t.Context(), budget); err != nil {
		t.Fatal(err)
	}
	look(t)
	gone(t, kept)
	look(t)
	count(2)
}

// look has the operator look for pods without a proxy as it would some time later.
func look(t *testing.T) {
	t.Helper()
	now := clock.Add(int64(missing.Every))
	edit(t, "tulle", func(m *v1alpha1.Mesh) {
		m.Annotations = map[string]string{"tulle.test/clock": time.Duration(now).String()}
	})
}

// readyPod makes a Ready pod of a workload that nobody runs here.
func readyPod(t *testing.T, name, apiVersion, kind string) *corev1.Pod {
	t.Helper()
	p := pod(t, "late", name, map[string]string{"app": name})
	before := p.DeepCopy()
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: apiVersion, Kind: kind, Name: name, UID: types.UID(name), Controller: ptr(true)}}
	if err := admin.Patch(t.Context(), p, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	before = p.DeepCopy()
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if err := admin.Status().Patch(t.Context(), p, client.MergeFrom(before)); err != nil {
		t.Fatal(err)
	}
	return p
}
