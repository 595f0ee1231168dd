// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/names"
)

// TestWorkloadFence gives the operator's account all rights on workloads and sees what the policy
// still forbids on those of others.
func TestWorkloadFence(t *testing.T) {
	for _, o := range []client.Object{
		&rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "all-workloads"},
			Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"apps"}, Resources: []string{"deployments", "statefulsets", "daemonsets"}, Verbs: []string{"get", "update", "patch"}}},
		},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "all-workloads"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "all-workloads"},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: "tulle-operator", Namespace: system}},
		},
	} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	operator, err := client.New(as(operatorUser), client.Options{Scheme: admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	namespace(t, "fenced-workloads", nil)
	labels := map[string]string{"app": "web"}
	make := func(name string, more map[string]string) *appsv1.Deployment {
		d := &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Namespace: "fenced-workloads", Name: name, Labels: more},
			Spec: appsv1.DeploymentSpec{
				Selector: &metav1.LabelSelector{MatchLabels: labels},
				Template: corev1.PodTemplateSpec{
					ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: map[string]string{"theirs": "yes"}},
					Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1"}}},
				},
			},
		}
		if err := admin.Create(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		return d
	}
	theirs, own := make("theirs", nil), make("own", map[string]string{names.LabelManagedBy: names.Operator})
	restarted := make("restarted", nil)
	restarted.Spec.Template.Annotations[names.AnnotationRestart020] = "0.2.0"
	if err := admin.Update(t.Context(), restarted); err != nil {
		t.Fatal(err)
	}
	evil := func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "evil" }
	// A policy works some time after it was made: wait until it does.
	eventually(t, "the policy works", func() string {
		d := theirs.DeepCopy()
		evil(d)
		if err := operator.Patch(t.Context(), d, client.MergeFrom(theirs), client.DryRunAll); err == nil {
			return "a foreign image is let through"
		}
		return ""
	})
	for name, c := range map[string]struct {
		of      *appsv1.Deployment
		change  func(*appsv1.Deployment)
		refusal string // empty: allowed
	}{
		"a restart": {theirs, func(d *appsv1.Deployment) { d.Spec.Template.Annotations[names.AnnotationRestart] = "0.3.0" }, ""},
		"a restart after 0.2.0's": {restarted, func(d *appsv1.Deployment) {
			d.Spec.Template.Annotations = map[string]string{"theirs": "yes", names.AnnotationRestart: "0.3.0"}
		}, ""},
		"an image":              {theirs, evil, "may only change the annotation"},
		"another annotation":    {theirs, func(d *appsv1.Deployment) { d.Spec.Template.Annotations["theirs"] = "no" }, "may only change the annotation"},
		"an annotation less":    {theirs, func(d *appsv1.Deployment) { delete(d.Spec.Template.Annotations, "theirs") }, "may only change the annotation"},
		"a label of the pods":   {theirs, func(d *appsv1.Deployment) { d.Spec.Template.Labels["more"] = "x" }, "may only change the annotation"},
		"the number of pods":    {theirs, func(d *appsv1.Deployment) { n := int32(0); d.Spec.Replicas = &n }, "size, selector, labels, owners or finalizers"},
		"a finalizer":           {theirs, func(d *appsv1.Deployment) { d.Finalizers = []string{"example.com/x"} }, "size, selector, labels, owners or finalizers"},
		"claiming it":           {theirs, func(d *appsv1.Deployment) { d.Labels = map[string]string{names.LabelManagedBy: names.Operator} }, "size, selector, labels, owners or finalizers"},
		"its own, to any image": {own, evil, "the operator may only"},
	} {
		t.Run(name, func(t *testing.T) {
			d := c.of.DeepCopy()
			c.change(d)
			err := operator.Patch(t.Context(), d, client.MergeFrom(c.of), client.DryRunAll)
			if c.refusal == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.refusal != "" && (err == nil || !strings.Contains(err.Error(), c.refusal)) {
				t.Errorf("want a refusal with %q, got %v", c.refusal, err)
			}
		})
	}
}
