// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"fmt"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
)

// patience bounds every wait; a busy machine needs most of it.
const patience = 120 * time.Second

// eventually waits until a condition holds; it returns what is missing, or "".
func eventually(t *testing.T, what string, missing func() string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		lack := missing()
		if lack == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not in %s: %s", what, patience, lack)
		}
		<-tick.C
	}
}

// condition waits for a condition of a Mesh and returns it.
func condition(t *testing.T, mesh, kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	t.Helper()
	var got metav1.Condition
	eventually(t, fmt.Sprintf("Mesh %s %s=%s %s", mesh, kind, status, reason), func() string {
		m := &v1alpha1.Mesh{}
		if err := admin.Get(context.Background(), client.ObjectKey{Name: mesh}, m); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(m.Status.Conditions, kind)
		if c == nil || c.Status != status || c.Reason != reason || c.ObservedGeneration != m.Generation {
			return fmt.Sprintf("generation %d, have %+v", m.Generation, m.Status.Conditions)
		}
		got = *c
		return ""
	})
	return got
}

// there waits for an object and reads it.
func there(t *testing.T, o client.Object) {
	t.Helper()
	eventually(t, fmt.Sprintf("%T %s/%s is there", o, o.GetNamespace(), o.GetName()), func() string {
		if err := admin.Get(context.Background(), client.ObjectKeyFromObject(o), o); err != nil {
			return err.Error()
		}
		return ""
	})
}

// gone waits for an object to go.
func gone(t *testing.T, o client.Object) {
	t.Helper()
	eventually(t, fmt.Sprintf("%T %s/%s is gone", o, o.GetNamespace(), o.GetName()), func() string {
		err := admin.Get(context.Background(), client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) || meta.IsNoMatchError(err) {
			return ""
		}
		if err != nil {
			return err.Error()
		}
		return "it is there"
	})
}

// waitForKind waits until the server serves a kind.
func waitForKind(ctx context.Context, apiVersion, kind string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion(apiVersion)
		list.SetKind(kind + "List")
		err := admin.List(ctx, list)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kind %s is not served: %w", kind, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
