// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package api

import (
	"context"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
)

// forget removes a Mesh for good, whatever still guards it.
func forget(t *testing.T, m *v1alpha1.Mesh) {
	t.Helper()
	ctx := context.Background() // the test's own has ended
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	_ = admin.Patch(ctx, &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: m.Name}}, patch) // it may have gone already
	if err := client.IgnoreNotFound(admin.Delete(ctx, m)); err != nil {
		t.Error(err)
	}
}
