// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// TestReinstall deletes the Mesh: it waits while a pod uses it and says so, it goes when nobody does
// or when it is told to, it leaves nothing behind, and a new one of the same name works. Pods of
// others that carry a proxy (the demo's) are restarted afterwards, because the roots are new.
func TestReinstall(t *testing.T) {
	c := cluster.Connect(t)
	before := c.Mesh(t, meshName())
	cluster.Eventually(t, time.Minute, "pods of former tests are gone", func() error { return leaving(t, c) })
	others := proxied(t, c)
	ns := c.Namespace(t, "reinstall", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")

	if err := c.Delete(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	cluster.Eventually(t, 30*time.Second, "condition InUse", func() error {
		m := &v1alpha1.Mesh{}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(before), m); err != nil {
			return err
		}
		cond := apimeta.FindStatusCondition(m.Status.Conditions, v1alpha1.ConditionInUse)
		if cond == nil || cond.Status != metav1.ConditionTrue || !strings.Contains(cond.Message, fmt.Sprint(len(others)+1)+" pod") {
			return fmt.Errorf("want %d pods in use: %+v", len(others)+1, m.Status.Conditions)
		}
		return nil
	})
	// What is installed still works.
	noFailure(t, c.Load(t, ns, true, "-url", "http://server/", "-count", "50").Wait(t, time.Minute), 50)

	if len(others) > 0 {
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"true"}}}`, names.AnnotationForceDelete))
		if err := c.Patch(t.Context(), before, patch); err != nil {
			t.Fatal(err)
		}
	} else if err := c.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}); err != nil {
		t.Fatal(err)
	}
	cluster.Eventually(t, 2*time.Minute, "the Mesh is gone", func() error {
		err := c.Get(t.Context(), client.ObjectKeyFromObject(before), before)
		if client.IgnoreNotFound(err) != nil || err == nil {
			return errors.Join(err, fmt.Errorf("it is there: %+v", before.Status.Conditions))
		}
		return nil
	})
	cluster.Eventually(t, time.Minute, "nothing is left", func() error { return left(t, c) })

	again := &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: before.Name, Labels: before.Labels}, Spec: before.Spec}
	if err := c.Create(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	again = c.Mesh(t, again.Name)
	if again.Status.Roots[0].SHA256 == before.Status.Roots[0].SHA256 {
		t.Error("the old root is still used: its Secret was left behind")
	}
	for i := range others {
		if err := client.IgnoreNotFound(c.Delete(t.Context(), &others[i])); err != nil {
			t.Error(err)
		}
	}
	after := c.Namespace(t, "reinstalled", meshed)
	c.Deploy(t, after, cluster.Echo{Name: "server"})
	c.Ready(t, after, "server")
	noFailure(t, c.Load(t, after, true, "-url", "http://server/", "-count", "50").Wait(t, time.Minute), 50)
}

// proxied are the pods that carry a proxy and run.
func proxied(t *testing.T, c *cluster.Cluster) []corev1.Pod {
	t.Helper()
	l := &corev1.PodList{}
	if err := c.List(t.Context(), l, client.HasLabels{names.LabelProxy}); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(l.Items, func(p corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	})
}

// leaving returns an error while pods that carry a proxy are being deleted, by themselves or with their namespace.
func leaving(t *testing.T, c *cluster.Cluster) error {
	t.Helper()
	l := &corev1.NamespaceList{}
	if err := c.List(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	for _, p := range proxied(t, c) {
		going := slices.ContainsFunc(l.Items, func(n corev1.Namespace) bool { return n.Name == p.Namespace && n.DeletionTimestamp != nil })
		if going || p.DeletionTimestamp != nil {
			return fmt.Errorf("pod %s/%s is being deleted", p.Namespace, p.Name)
		}
	}
	return nil
}

// left tells what the operator made and did not take away.
func left(t *testing.T, c *cluster.Cluster) error {
	t.Helper()
	var found []string
	for _, gvk := range []schema.GroupVersionKind{
		{Version: "v1", Kind: "ServiceAccount"},
		{Version: "v1", Kind: "Service"},
		{Version: "v1", Kind: "ConfigMap"},
		{Version: "v1", Kind: "Secret"},
		{Group: "apps", Version: "v1", Kind: "Deployment"},
		{Group: "policy", Version: "v1", Kind: "PodDisruptionBudget"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "Role"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "RoleBinding"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRole"},
		{Group: "rbac.authorization.k8s.io", Version: "v1", Kind: "ClusterRoleBinding"},
		{Group: "admissionregistration.k8s.io", Version: "v1", Kind: "MutatingWebhookConfiguration"},
		{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"},
		{Group: "cert-manager.io", Version: "v1", Kind: "Issuer"},
		{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "GatewayClass"},
	} {
		l := &metav1.PartialObjectMetadataList{}
		l.SetGroupVersionKind(gvk)
		if err := c.List(t.Context(), l, client.MatchingLabels{names.LabelManagedBy: names.Operator}); err != nil {
			return err
		}
		for _, o := range l.Items {
			// What goes with its namespace or its Gateway needs nobody's help.
			if o.DeletionTimestamp.IsZero() {
				found = append(found, gvk.Kind+" "+o.Namespace+"/"+o.Name)
			}
		}
	}
	x := &metav1.PartialObjectMetadata{}
	x.SetGroupVersionKind(schema.GroupVersionKind{Group: "gateway.networking.x-k8s.io", Version: "v1alpha1", Kind: "XMesh"})
	if err := c.Get(t.Context(), client.ObjectKey{Name: names.XMesh}, x); err == nil {
		found = append(found, "XMesh "+x.Name)
	}
	if len(found) > 0 {
		return fmt.Errorf("left behind: %s", strings.Join(found, ", "))
	}
	return nil
}
