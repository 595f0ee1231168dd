// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package olm

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

const (
	repo = "../.."
	// system is where the bundle must be installed.
	system = names.SystemNamespace
	// enough is the number of requests that the loads must have sent.
	enough = 10000
)

var csvs = schema.GroupVersionKind{Group: "operators.coreos.com", Version: "v1alpha1", Kind: "ClusterServiceVersion"}

// TestOLM: installed from a catalog, the operator of one release brings up a mesh of it. OLM replaces
// the operator by the next release's, which changes nothing in the mesh; then the mesh is upgraded, as
// its Mesh asks. It carries traffic all the while, of which nothing is lost. In the end everything goes.
func TestOLM(t *testing.T) {
	c := cluster.Connect(t)
	second := filepath.Join(repo, "bundle")
	first := t.TempDir()
	tree := olderTree(t)
	if err := olderBundle(tree, first); err != nil {
		t.Fatal(err)
	}
	offer(t, first)
	c.MustApply(t, subscription, system, system, system)

	begun := time.Now()
	succeeded(t, c, "tulle.v"+older)
	t.Logf("%s installed by OLM in %s", older, time.Since(begun).Round(time.Second))
	rights(t, c)

	begun = time.Now()
	apply(t, c, filepath.Join(tree, "config", "webhook", "*_fence*.yaml"))
	apply(t, c, filepath.Join(tree, "config", "samples", "tulle_v1alpha1_mesh.yaml"))
	serves(t, c.Mesh(t, "tulle"), older)
	t.Logf("mesh of %s Ready in %s", older, time.Since(begun).Round(time.Second))
	oldDefinition(t, c)

	ns, runs := traffic(t, c)
	before := everything(t, c, ns)

	begun = time.Now()
	offer(t, first, second)
	succeeded(t, c, "tulle.v"+newer)
	gone(t, c, "tulle.v"+older)
	took := time.Since(begun).Round(time.Second)
	leads(t, c, before["tulle-operator"])
	t.Logf("operator upgraded by OLM in %s, leads after %s", took, time.Since(begun).Round(time.Second))
	apply(t, c, filepath.Join(second, "fences", "*.yaml")) // as docs/guides/operatorhub.md says
	untouched(t, c, before, everything(t, c, ns))
	newDefinition(t, c)

	begun = time.Now()
	upgrade(t, c)
	t.Logf("mesh upgraded in %s", time.Since(begun).Round(time.Second))
	replaced(t, c, before, everything(t, c, ns))
	unfailed(t, runs)
	remove(t, c, ns, "tulle.v"+newer)
}

// subscription is what an administrator applies.
const subscription = `
apiVersion: v1
kind: Namespace
metadata:
  name: %s
  labels:
    pod-security.kubernetes.io/enforce: restricted
---
apiVersion: operators.coreos.com/v1
kind: OperatorGroup
metadata:
  name: tulle
  namespace: %s
---
apiVersion: operators.coreos.com/v1alpha1
kind: Subscription
metadata:
  name: tulle
  namespace: %s
spec:
  channel: stable
  name: tulle
  source: test
  sourceNamespace: olm
`

func succeeded(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	cluster.Eventually(t, 4*time.Minute, "ClusterServiceVersion "+name+" Succeeded", func() error {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(csvs)
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: system, Name: name}, u); err != nil {
			return fmt.Errorf("%w; subscription: %s", err, subscribed(t.Context(), c))
		}
		phase, _, _ := unstructured.NestedString(u.Object, "status", "phase")
		message, _, _ := unstructured.NestedString(u.Object, "status", "message")
		if phase != "Succeeded" {
			return fmt.Errorf("phase %s: %s", phase, message)
		}
		return nil
	})
}

// subscribed is what OLM says of the subscription, for messages.
func subscribed(ctx context.Context, c *cluster.Cluster) string {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: csvs.Group, Version: csvs.Version, Kind: "Subscription"})
	if err := c.Get(ctx, client.ObjectKey{Namespace: system, Name: "tulle"}, u); err != nil {
		return err.Error()
	}
	return fmt.Sprint(u.Object["status"])
}

func gone(t *testing.T, c *cluster.Cluster, name string) {
	t.Helper()
	cluster.Eventually(t, 2*time.Minute, "ClusterServiceVersion "+name+" gone", func() error {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(csvs)
		err := c.Get(t.Context(), client.ObjectKey{Namespace: system, Name: name}, u)
		if err == nil {
			return fmt.Errorf("it is there")
		}
		return client.IgnoreNotFound(err)
	})
}

// rights: what the operator may do with Secrets and roles it may do in its own namespace only.
func rights(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	bindings := &rbacv1.ClusterRoleBindingList{}
	if err := c.List(t.Context(), bindings); err != nil {
		t.Fatal(err)
	}
	bound := 0
	for _, b := range bindings.Items {
		if !slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool { return s.Namespace == system && s.Name == "tulle-operator" }) {
			continue
		}
		bound++
		role := &rbacv1.ClusterRole{}
		if err := c.Get(t.Context(), client.ObjectKey{Name: b.RoleRef.Name}, role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for _, everywhere := range []string{"secrets", "roles", "rolebindings"} {
				if slices.Contains(rule.Resources, everywhere) {
					t.Errorf("in the whole cluster, by ClusterRole %s: %v", role.Name, rule)
				}
			}
		}
	}
	if bound == 0 {
		t.Error("nothing is bound to the operator in the whole cluster")
	}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: system, Name: "tulle-operator"}, &rbacv1.Role{}); err != nil {
		t.Errorf("the operator's Role: %v", err)
	}
}

// remove takes everything away, in the order that the guide gives, and sees that nothing stays.
func remove(t *testing.T, c *cluster.Cluster, traffic, csv string) {
	t.Helper()
	if err := c.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: traffic}}); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}}); err != nil {
		t.Fatal(err)
	}
	cluster.Eventually(t, 3*time.Minute, "the Mesh is gone", func() error {
		m := &v1alpha1.Mesh{}
		err := c.Get(t.Context(), client.ObjectKey{Name: "tulle"}, m)
		if err == nil {
			return fmt.Errorf("conditions: %v", m.Status.Conditions)
		}
		return client.IgnoreNotFound(err)
	})
	for _, o := range []struct{ kind, name string }{{"Subscription", "tulle"}, {"ClusterServiceVersion", csv}} {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(schema.GroupVersionKind{Group: csvs.Group, Version: csvs.Version, Kind: o.kind})
		u.SetNamespace(system)
		u.SetName(o.name)
		if err := c.Delete(t.Context(), u); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	cluster.Eventually(t, 2*time.Minute, "the operator and its rights are gone", func() error {
		if left := c.Pods(t, system, names.LabelApp+"="+names.Operator); len(left) > 0 {
			return fmt.Errorf("%d pods", len(left))
		}
		bindings := &rbacv1.ClusterRoleBindingList{}
		if err := c.List(t.Context(), bindings); err != nil {
			return err
		}
		for _, b := range bindings.Items {
			if slices.ContainsFunc(b.Subjects, func(s rbacv1.Subject) bool { return s.Namespace == system }) {
				return fmt.Errorf("ClusterRoleBinding %s", b.Name)
			}
		}
		return nil
	})
	// What OLM leaves, as the guide says.
	definition := &unstructured.Unstructured{}
	definition.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	definition.SetName("meshes.tulle.dev")
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}},
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: names.GatewaySecretsRole}},
		definition,
	} {
		if err := c.Delete(t.Context(), o); err != nil {
			t.Errorf("OLM was said to leave this: %v", err)
		}
	}
}

// apply applies the files of a pattern.
func apply(t *testing.T, c *cluster.Cluster, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files are %s: %v", len(files), pattern, err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		c.MustApply(t, string(text))
	}
}
