// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"tulle.dev/tulle/internal/names"
)

// counting counts the objects that are read one by one.
type counting struct {
	client.Reader
	gets int
}

func (c *counting) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	c.gets++
	return c.Reader.Get(ctx, key, o, opts...)
}

// TestMissingIsReadOnce: pods that are not connected while a root changes are read once for each version of theirs, and
// not in each reconciliation, whoever created them; no more than some are read at all.
func TestMissingIsReadOnce(t *testing.T) {
	b := fake.NewClientBuilder().WithStatusSubresource(&corev1.Pod{})
	for i := range 2 * maxMissing {
		name := fmt.Sprintf("p%03d", i)
		b = b.WithObjects(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, UID: types.UID(name), Labels: map[string]string{names.LabelProxy: names.KindSidecar}}})
	}
	c := b.Build()
	live := &counting{Reader: c}
	r := &Reconciler{Live: live, Cache: c}
	look := func() []string {
		out, err := r.missing(t.Context(), map[string]bool{"shop/p099": true})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for range 3 {
		if n := len(look()); n != maxMissing-1 || live.gets != maxMissing {
			t.Fatalf("%d are missing, %d were read", n, live.gets)
		}
	}
	p := &corev1.Pod{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "p000"}, p); err != nil {
		t.Fatal(err)
	}
	p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: names.ContainerSlotA, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	if err := c.Status().Update(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got := look(); !slices.Contains(got, "shop/p000") || live.gets != maxMissing+1 {
		t.Errorf("%v, %d were read", got, live.gets)
	}
}
