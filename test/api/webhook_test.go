// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
)

// deadWebhook makes pods while nothing answers the webhook: those that are to be meshed are
// refused, loudly, and all others start.
func deadWebhook(t *testing.T) {
	edit(t, "tulle", func(m *v1alpha1.Mesh) {
		m.Spec.Injection.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "w"}}
	})
	t.Cleanup(func() { edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Injection.NamespaceSelector = nil }) })
	namespace(t, "w-enabled", map[string]string{"tulle.dev/inject": "enabled"})
	namespace(t, "w-disabled", map[string]string{"tulle.dev/inject": "disabled", "team": "w"})
	namespace(t, "w-selected", map[string]string{"team": "w"})
	namespace(t, "w-plain", nil)

	enabled, disabled := map[string]string{"tulle.dev/inject": "enabled"}, map[string]string{"tulle.dev/inject": "disabled"}
	try := func(namespace string, labels, annotations map[string]string) error {
		return admin.Create(t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "p-", Labels: labels, Annotations: annotations},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1"}}},
		}, client.DryRunAll)
	}
	eventually(t, "the API server knows the webhook", func() string {
		if err := try("w-selected", nil, nil); err == nil {
			return "a pod is let through"
		}
		return ""
	})
	for _, c := range []struct {
		namespace           string
		labels, annotations map[string]string
		hook                string // empty: starts
	}{
		{"w-enabled", nil, nil, "namespace.inject.tulle.dev"},
		{"w-enabled", enabled, nil, "pod.inject.tulle.dev"},
		{"w-enabled", disabled, nil, ""},
		{"w-disabled", nil, nil, ""},
		{"w-disabled", enabled, nil, "pod.inject.tulle.dev"}, // the pod wins
		{"w-disabled", disabled, nil, ""},
		{"w-selected", nil, nil, "selected.inject.tulle.dev"},
		{"w-selected", enabled, nil, "pod.inject.tulle.dev"},
		{"w-selected", disabled, nil, ""},
		{"w-plain", nil, nil, ""},
		{"w-plain", enabled, nil, "pod.inject.tulle.dev"},
		{"w-plain", disabled, nil, ""},
		{"kube-system", enabled, nil, ""},
		{system, enabled, nil, ""}, // or the control plane could never start again
	} {
		err := try(c.namespace, c.labels, c.annotations)
		if c.namespace == system && err != nil && strings.Contains(err.Error(), "PodSecurity") {
			err = nil // refused for its own security context, after the webhooks
		}
		if c.hook == "" && err != nil {
			t.Errorf("%s %v: refused: %v", c.namespace, c.labels, err)
		}
		// Each pod is asked about once, and the refusal names the webhook.
		if c.hook != "" && (err == nil || !strings.Contains(err.Error(), c.hook) || strings.Count(err.Error(), ".inject.tulle.dev") != 1) {
			t.Errorf("%s %v: want a refusal by %s alone, got %v", c.namespace, c.labels, c.hook, err)
		}
	}
	// A copy of a meshed pod that asks for no proxy is asked about wherever it is, to remove the proxy from it. Pods of
	// Gateways have theirs from the operator, and a label alone is no proxy.
	for _, c := range []struct {
		namespace, inject, proxy, container, hook string
	}{
		{"w-plain", "", "", "tulle-proxy-a", "left-over"},
		{"w-plain", "", "sidecar", "tulle-proxy-a", "left-over"},
		{"w-plain", "", "sidecar", "tulle-wait", "left-over"},
		{"w-plain", "", "other", "tulle-proxy-b", "left-over"},
		{"w-disabled", "", "sidecar", "tulle-proxy-a", "left-over"},
		{"w-plain", "disabled", "sidecar", "tulle-proxy-a", "disabled"},
		{"w-enabled", "disabled", "sidecar", "tulle-proxy-a", "disabled"},
		{"w-enabled", "disabled", "", "tulle-proxy-a", "disabled"},
		{"w-selected", "disabled", "sidecar", "tulle-init", "disabled"},
		{"w-enabled", "", "sidecar", "tulle-proxy-a", "namespace"},
		{"w-plain", "enabled", "sidecar", "tulle-proxy-a", "pod"},
		{"w-plain", "", "gateway", "tulle-proxy-a", ""},
		{"w-plain", "", "sidecar", "other", ""},
		{"w-plain", "disabled", "sidecar", "other", ""},
		{"kube-system", "", "sidecar", "tulle-proxy-a", ""},
	} {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, GenerateName: "p-", Labels: map[string]string{}},
			Spec: corev1.PodSpec{
				Containers:     []corev1.Container{{Name: "app", Image: "registry.example/app:1"}},
				InitContainers: []corev1.Container{{Name: c.container, Image: "registry.example/proxy:1"}},
			},
		}
		for key, value := range map[string]string{"tulle.dev/inject": c.inject, "tulle.dev/proxy": c.proxy} {
			if value != "" {
				p.Labels[key] = value
			}
		}
		err := admin.Create(t.Context(), p, client.DryRunAll)
		if c.hook == "" && err != nil || c.hook != "" && (err == nil || !strings.Contains(err.Error(), `"`+c.hook+`.inject.tulle.dev"`) ||
			strings.Count(err.Error(), ".inject.tulle.dev") != 1) {
			t.Errorf("%+v: want a refusal by that webhook alone, got %v", c, err)
		}
	}
	// Deleting, updating and looking never wait for the webhook; other kinds neither.
	if err := admin.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "w-enabled", Name: "c"}}); err != nil {
		t.Error(err)
	}
}
