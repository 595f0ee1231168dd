// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// oldDefinition changes the schema of the definition of Mesh until replace is called or the test ends.
func oldDefinition(t *testing.T, change func(schema map[string]any)) (replace func()) {
	t.Helper()
	crd := &unstructured.Unstructured{}
	crd.SetAPIVersion("apiextensions.k8s.io/v1")
	crd.SetKind("CustomResourceDefinition")
	if err := admin.Get(t.Context(), client.ObjectKey{Name: "meshes.tulle.dev"}, crd); err != nil {
		t.Fatal(err)
	}
	old := crd.DeepCopy()
	versions, _, err := unstructured.NestedSlice(old.Object, "spec", "versions")
	if err != nil {
		t.Fatal(err)
	}
	schema, _, err := unstructured.NestedFieldNoCopy(versions[0].(map[string]any), "schema", "openAPIV3Schema")
	if err != nil {
		t.Fatal(err)
	}
	change(schema.(map[string]any))
	if err := unstructured.SetNestedSlice(old.Object, versions, "spec", "versions"); err != nil {
		t.Fatal(err)
	}
	if err := admin.Update(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	replace = sync.OnceFunc(func() {
		crd.SetResourceVersion("")
		crd.SetManagedFields(nil)
		if err := admin.Patch(context.WithoutCancel(t.Context()), crd, client.Merge); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(replace)
	return replace
}

// TestOldDefinition: with a definition of Mesh that lacks a field of the status, as after an update of
// the operator alone, the Mesh's events say what to apply. Once it is applied, all is well.
func TestOldDefinition(t *testing.T) {
	mend := oldDefinition(t, func(schema map[string]any) {
		unstructured.RemoveNestedField(schema, "properties", "status", "properties", "observedGeneration")
	})
	m := newMesh(t, "old", nil)
	eventually(t, "the API server goes by the old definition", func() string {
		tried := m.DeepCopy()
		tried.Status.ObservedGeneration = 7
		if err := admin.Status().Patch(t.Context(), tried, client.MergeFrom(m), client.DryRunAll); err != nil {
			return err.Error()
		}
		if tried.Status.ObservedGeneration != 0 {
			return "it keeps the field"
		}
		return ""
	})
	startOperator(t)
	eventually(t, "the Mesh's events say what to do", func() string {
		var list eventsv1.EventList
		if err := admin.List(t.Context(), &list, client.InNamespace(metav1.NamespaceDefault)); err != nil {
			return err.Error()
		}
		if !slices.ContainsFunc(list.Items, func(e eventsv1.Event) bool {
			return e.Regarding.Name == "old" && e.Type == corev1.EventTypeWarning && e.Reason == "OldDefinition" && strings.Contains(e.Note, "config/crd")
		}) {
			return "no such event"
		}
		return ""
	})
	mend()
	eventually(t, "all of the status is kept", func() string {
		if err := admin.Get(t.Context(), client.ObjectKey{Name: "old"}, m); err != nil {
			return err.Error()
		}
		if m.Status.ObservedGeneration != m.Generation {
			return "no observedGeneration"
		}
		return ""
	})
	if err := admin.Delete(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the Mesh is gone", func() string {
		if err := admin.Get(t.Context(), client.ObjectKey{Name: "old"}, m); err == nil {
			return "it is there"
		}
		return ""
	})
}
