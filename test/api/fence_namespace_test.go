// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/names"
)

// TestFenceAnyNamespace: the policies hold the operator's account wherever it is installed, and nobody
// else. They name no namespace, and an overlay of kustomize leaves them as they are (hack/bundle/source
// TestOverlayIsWhole), but for a namespace in their metadata, which the API server ignores.
func TestFenceAnyNamespace(t *testing.T) {
	for _, f := range []string{names.PodFence, names.WorkloadFence} {
		for _, file := range manifests("config/webhook") {
			objects, err := readFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range objects {
				if o.GetName() != f {
					continue
				}
				o.SetNamespace("mesh-system")
				if err := admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(o), client.FieldOwner("test"), client.ForceOwnership); err != nil {
					t.Errorf("apply %s %s as an overlay has it: %v", o.GetKind(), o.GetName(), err)
				}
			}
		}
	}
	namespace(t, "fenced-anywhere", nil)
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "fenced-anywhere"},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "update", "patch"}},
			{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"get", "update", "patch"}},
		},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "fenced-anywhere"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "fenced-anywhere"},
	}
	victim := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "fenced-anywhere", Name: "victim"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app", Image: "registry.example/app:1"}}},
	}
	labels := map[string]string{"app": "web"}
	workload := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: "fenced-anywhere", Name: "victim"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: victim.Spec},
		},
	}
	fenced := []string{
		"system:serviceaccount:tulle-system:tulle-operator",
		"system:serviceaccount:mesh-system:tulle-operator",
		"system:serviceaccount:a:tulle-operator",
	}
	free := []string{
		"system:serviceaccount:mesh-system:other",
		"system:serviceaccount:mesh-system:not-tulle-operator",
		"system:serviceaccount:tulle-operator:default",
		"someone:tulle-operator", // a person, of whatever name
	}
	for _, user := range append(append([]string{}, fenced...), free...) {
		binding.Subjects = append(binding.Subjects, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user})
	}
	for _, o := range []client.Object{role, binding, victim, workload} {
		if err := admin.Create(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	// What the operator must not do, each held by one of the policies.
	for what, change := range map[string]func(c client.Client) error{
		"an application's image": func(c client.Client) error {
			p := victim.DeepCopy()
			p.Spec.Containers[0].Image = "evil"
			return c.Patch(t.Context(), p, client.MergeFrom(victim), client.DryRunAll)
		},
		"a workload's image": func(c client.Client) error {
			d := workload.DeepCopy()
			d.Spec.Template.Spec.Containers[0].Image = "evil"
			return c.Patch(t.Context(), d, client.MergeFrom(workload), client.DryRunAll)
		},
	} {
		for _, user := range fenced {
			c, err := client.New(as(user), client.Options{Scheme: admin.Scheme()})
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, what+" by "+user, func() string { // policies, and rights, work some time after they were made
				switch err := change(c); {
				case err == nil:
					return "is let through"
				case !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "the operator may"):
					return err.Error()
				}
				return ""
			})
		}
		for _, user := range free {
			c, err := client.New(as(user), client.Options{Scheme: admin.Scheme()})
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, what+" by "+user, func() string {
				if err := change(c); err != nil {
					return err.Error()
				}
				return ""
			})
		}
	}
}
