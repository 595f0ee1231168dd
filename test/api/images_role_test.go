// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/names"
)

// TestImagesWithoutTheirRole: while the ClusterRole with the repositories does not exist, the operator gives no
// pod an image of another repository, whatever labels it sets or removes, and others still change their pods.
func TestImagesWithoutTheirRole(t *testing.T) {
	c := stolen(t)
	namespace(t, "without-role", nil)
	pod := func(name string, labels map[string]string) *corev1.Pod {
		always := corev1.ContainerRestartPolicyAlways
		p := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "without-role", Name: name, Labels: labels, Finalizers: []string{"batch.kubernetes.io/job-tracking"}},
			Spec: corev1.PodSpec{
				InitContainers: []corev1.Container{
					{Name: names.ContainerSlotA, Image: "tulle.test/proxy:1", RestartPolicy: &always},
					{Name: names.ContainerSlotB, Image: "tulle.test/proxy:1", RestartPolicy: &always},
				},
				Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1"}},
			},
		}
		if err := admin.Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	meshed := pod("meshed", map[string]string{names.LabelProxy: names.KindSidecar})
	upgraded := pod("upgraded", map[string]string{names.LabelProxy: names.KindSidecar, names.LabelImageReplaced: "true"})
	plain := pod("plain", nil)
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, p := range []*corev1.Pod{meshed, upgraded, plain} {
			err := admin.Patch(ctx, p, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
			if err == nil {
				err = admin.Delete(ctx, p, client.GracePeriodSeconds(0)) // no kubelet ends them
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: names.ImagesRole}}
	there(t, role)
	back := func() {
		r := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: role.Name, Annotations: role.Annotations}}
		if err := client.IgnoreAlreadyExists(admin.Create(context.WithoutCancel(t.Context()), r)); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(back)
	if err := admin.Delete(t.Context(), role.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it counts that the ClusterRole is missing", func() string {
		if err := change(t, upgraded, replaced("tulle.test/proxy:2"))(c); err == nil || !strings.Contains(err.Error(), names.PodImageFence) {
			return errorText(err)
		}
		return ""
	})
	strip := func(p *corev1.Pod) { p.Labels = nil }
	attacks := map[string]attack{}
	for name, p := range map[string]*corev1.Pod{"a meshed pod": meshed, "an upgraded pod": upgraded, "a pod without labels": plain} {
		for how, labels := range map[string]func(*corev1.Pod){"": func(*corev1.Pod) {}, ", without its labels": strip} {
			attacks[name+how] = change(t, p, func(p *corev1.Pod) {
				p.Spec.InitContainers[0].Image = "evil.example/proxy:1"
				labels(p)
			})
		}
		attacks[name+", marked"] = change(t, p, replaced("evil.example/proxy:1"))
	}
	for name, do := range attacks {
		t.Run(name, func(t *testing.T) {
			if err := do(c); err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") && !strings.Contains(err.Error(), names.PodImageFence) {
				t.Error(errorText(err))
			}
		})
	}
	// Refused is what the operator asks for: the end of a Job's pod, or a label of its owner, is not.
	for _, p := range []*corev1.Pod{meshed, plain} {
		err := change(t, p, func(p *corev1.Pod) { p.Finalizers = nil; metav1.SetMetaDataLabel(&p.ObjectMeta, "team", "a") })(admin)
		if err != nil {
			t.Errorf("pod %s, by an administrator: %v", p.Name, err)
		}
	}
	if err := change(t, meshed, func(p *corev1.Pod) { p.Spec.InitContainers[0].Image = "tulle.test/proxy:2" })(c); err != nil {
		t.Errorf("another tag: %v", err)
	}
	back()
	eventually(t, "the ClusterRole counts again", func() string {
		if err := change(t, upgraded, replaced("tulle.test/proxy:2"))(c); err != nil {
			return err.Error()
		}
		return ""
	})
}
