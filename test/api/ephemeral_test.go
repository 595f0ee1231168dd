// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/slots"
)

// TestEphemeralContainers: not even an administrator adds a container to a running meshed pod that is the proxy,
// or that has the proxy's files, by accident or otherwise. Pods without a proxy are left alone, and so is
// what a pod has already.
func TestEphemeralContainers(t *testing.T) {
	namespace(t, "ephemeral", nil)
	always := corev1.ContainerRestartPolicyAlways
	create := func(name string, init ...corev1.Container) *corev1.Pod {
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ephemeral", Name: name},
			Spec: corev1.PodSpec{
				InitContainers: init, Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1"}},
				Volumes: []corev1.Volume{{Name: "own"}, {Name: names.VolumeRun}, {Name: names.VolumeToken}, {Name: names.VolumeTrust}, {Name: names.VolumePod}},
			},
		}
		if err := admin.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { // other tests count pods
			_ = admin.Delete(context.WithoutCancel(t.Context()), p, client.GracePeriodSeconds(0))
		})
		return p
	}
	slot := func(name string) corev1.Container {
		return corev1.Container{Name: name, Image: "registry.example/tulle-proxy:1", RestartPolicy: &always}
	}
	// The third stands for the container of a Gateway's pod that is not a slot.
	meshed := create("meshed", slot(names.ContainerSlotA), slot(names.ContainerSlotB), slot(slots.ContainerHold))
	plain := create("plain")
	addTo := func(to *corev1.Pod, c corev1.EphemeralContainerCommon, target string, opts ...client.SubResourceUpdateOption) error {
		p := to.DeepCopy()
		c.Image = "registry.example/shell:1"
		p.Spec.EphemeralContainers = append(p.Spec.EphemeralContainers, corev1.EphemeralContainer{EphemeralContainerCommon: c, TargetContainerName: target})
		err := admin.SubResource("ephemeralcontainers").Update(t.Context(), p, opts...)
		if err == nil && len(opts) == 0 {
			*to = *p
		}
		return err
	}
	add := func(to *corev1.Pod, c corev1.EphemeralContainerCommon, opts ...client.SubResourceUpdateOption) error {
		return addTo(to, c, "", opts...)
	}
	dry := &client.SubResourceUpdateOptions{UpdateOptions: client.UpdateOptions{DryRun: []string{metav1.DryRunAll}}}
	as := func(user, group int64) *corev1.SecurityContext {
		c := &corev1.SecurityContext{}
		if user != 0 {
			c.RunAsUser = &user
		}
		if group != 0 {
			c.RunAsGroup = &group
		}
		return c
	}
	mount := func(name string) []corev1.VolumeMount {
		return []corev1.VolumeMount{{Name: "own", MountPath: "/own"}, {Name: name, MountPath: "/x"}}
	}
	eventually(t, "the policy works", func() string {
		if err := add(meshed, corev1.EphemeralContainerCommon{Name: "proxy", SecurityContext: as(names.ProxyUID, 0)}, dry); err == nil {
			return "a container as the proxy's user is let through"
		}
		return ""
	})
	for name, c := range map[string]struct {
		container corev1.EphemeralContainerCommon
		refusal   string // empty: allowed
		target    string
	}{
		"of defaults":            {corev1.EphemeralContainerCommon{}, "", ""},
		"as another user":        {corev1.EphemeralContainerCommon{SecurityContext: as(1000, 1000)}, "", ""},
		"with own volume":        {corev1.EphemeralContainerCommon{VolumeMounts: mount("own")[:1]}, "", ""},
		"as the proxy":           {corev1.EphemeralContainerCommon{SecurityContext: as(names.ProxyUID, 0)}, "may not set securityContext.runAsUser or runAsGroup to 1337", ""},
		"in its group":           {corev1.EphemeralContainerCommon{SecurityContext: as(1000, names.ProxyUID)}, "may not set securityContext.runAsUser or runAsGroup to 1337", ""},
		"with its sockets":       {corev1.EphemeralContainerCommon{VolumeMounts: mount(names.VolumeRun)}, "may not mount the volumes tulle-run", ""},
		"with its token":         {corev1.EphemeralContainerCommon{VolumeMounts: mount(names.VolumeToken)}, "may not mount the volumes tulle-run", ""},
		"with its roots":         {corev1.EphemeralContainerCommon{VolumeMounts: mount(names.VolumeTrust)}, "may not mount the volumes tulle-run", ""},
		"with its downwards":     {corev1.EphemeralContainerCommon{VolumeMounts: mount(names.VolumePod)}, "may not mount the volumes tulle-run", ""},
		"beside the application": {corev1.EphemeralContainerCommon{}, "", "app"},
		"beside slot a":          {corev1.EphemeralContainerCommon{}, "may not have targetContainerName tulle-proxy-a", names.ContainerSlotA},
		"beside slot b":          {corev1.EphemeralContainerCommon{}, "may not have targetContainerName tulle-proxy-a", names.ContainerSlotB},
		"beside a Gateway's":     {corev1.EphemeralContainerCommon{}, "may not have targetContainerName tulle-proxy-a", slots.ContainerHold},
	} {
		t.Run(name, func(t *testing.T) {
			c.container.Name = "shell"
			err := addTo(meshed, c.container, c.target, dry)
			if c.refusal == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)) {
				t.Errorf("want a refusal with %q, got %v", c.refusal, err)
			}
			if err := addTo(plain, c.container, "", dry); err != nil {
				t.Errorf("refused in a pod without a proxy: %v", err)
			}
		})
	}
	// Labels are no way round it.
	p := meshed.DeepCopy()
	p.Labels = map[string]string{names.LabelProxy: "no"}
	if err := admin.Patch(t.Context(), p, client.MergeFrom(meshed)); err != nil {
		t.Fatal(err)
	}
	if err := add(p, corev1.EphemeralContainerCommon{Name: "proxy", SecurityContext: as(names.ProxyUID, 0)}, dry); err == nil {
		t.Error("a container as the proxy's user is let through in a pod with other labels")
	}
}
