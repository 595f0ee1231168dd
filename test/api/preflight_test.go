// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/release"
)

// preflightStops: an upgrade that the operator has no rights for, or no room, does not begin; what to
// mend is said while it waits, and nothing is touched.
func preflightStops(t *testing.T) {
	const other, revision = "0.2.0", "tulle-controlplane-0-2-0"
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "tulle-operator"}}
	there(t, role)
	whole := slices.Clone(role.Rules)
	mend := func() {
		update(t, role, func() { role.Rules = whole })
	}
	t.Cleanup(mend)
	update(t, role, func() {
		role.Rules = slices.DeleteFunc(role.Rules, func(r rbacv1.PolicyRule) bool { return slices.Contains(r.Resources, "tokenreviews") })
	})
	// Nobody counts here, so that what the quota's controller would say is said by the test.
	q := &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "small"}}
	q.Spec.Hard = corev1.ResourceList{"count/deployments.apps": resource.MustParse("2")}
	if err := admin.Create(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = admin.Delete(context.Background(), q) }) // it may have gone already
	q.Status = corev1.ResourceQuotaStatus{Hard: q.Spec.Hard, Used: q.Spec.Hard}
	if err := admin.Status().Update(t.Context(), q); err != nil {
		t.Fatal(err)
	}

	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Version = other })
	says := func(words, not string) {
		t.Helper()
		eventually(t, "the preflight says "+words, func() string {
			m := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}
			there(t, m)
			u := m.Status.Upgrade
			if u == nil || u.To != other || u.Phase != v1alpha1.PhasePreflight {
				return "it is not in its preflight"
			}
			if !strings.Contains(u.Message, words) || not != "" && strings.Contains(u.Message, not) {
				return u.Message
			}
			return ""
		})
		if err := admin.Get(t.Context(), client.ObjectKey{Namespace: system, Name: revision}, &appsv1.Deployment{}); !apierrors.IsNotFound(err) {
			t.Fatalf("the control plane of %s was deployed although %s: %v", other, words, err)
		}
	}
	const room = "ResourceQuota tulle-system/small has no room for a second control plane, which needs 1 of count/deployments.apps, where 0 is left"
	says("it may not: create tokenreviews.authentication.k8s.io; apply the roles", "")
	says(room, "")
	mend()
	says(room, "may not")

	edit(t, "tulle", func(m *v1alpha1.Mesh) { m.Spec.Version = release.Current })
	condition(t, "tulle", v1alpha1.ConditionUpgraded, metav1.ConditionTrue, v1alpha1.ReasonUpToDate)
	condition(t, "tulle", v1alpha1.ConditionReady, metav1.ConditionTrue, v1alpha1.ReasonReady)
}
