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
)

// stolenHome is the namespace of an operator whose account has every right in the cluster: what is refused
// to it is refused by the policies.
const stolenHome = "stolen-home"

// stolen returns a client with the operator's account of stolenHome.
func stolen(t *testing.T) client.Client {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: stolenHome}}
	if err := client.IgnoreAlreadyExists(admin.Create(t.Context(), ns)); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "stolen"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{
			{Kind: rbacv1.ServiceAccountKind, Name: "tulle-operator", Namespace: stolenHome},
			{Kind: rbacv1.ServiceAccountKind, Name: controlPlane, Namespace: stolenHome},
		},
	}
	if err := client.IgnoreAlreadyExists(admin.Create(t.Context(), binding)); err != nil {
		t.Fatal(err)
	}
	c := user(t, "system:serviceaccount:"+stolenHome+":tulle-operator")
	// The API server begins to ask its policies a moment after they are applied. Until then, everything is let through.
	probe := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: stolenHome, Name: "probe"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "probe"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "probe"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "probe", Image: "probe"}}},
			},
		},
	}
	eventually(t, "the policies are asked", func() string {
		err := c.Create(t.Context(), probe.DeepCopy(), client.DryRunAll)
		if err == nil || !strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
			return "a Deployment: " + errorText(err)
		}
		return ""
	})
	return c
}

func user(t *testing.T, name string) client.Client {
	t.Helper()
	c, err := client.New(as(name), client.Options{Scheme: admin.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}
