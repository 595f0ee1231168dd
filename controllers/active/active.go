// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package active says which Mesh is the active one of a cluster: the oldest.
// All controllers ask here, so that they agree.
package active

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
)

// Oldest returns the oldest Mesh, by name among those of one second; nil: there is none. A Mesh that
// is being deleted stays the active one until it has gone.
func Oldest(list []v1alpha1.Mesh) *v1alpha1.Mesh {
	if len(list) == 0 {
		return nil
	}
	oldest := slices.MinFunc(list, func(a, b v1alpha1.Mesh) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return &oldest
}

// Mesh returns the active Mesh; nil: there is none.
func Mesh(ctx context.Context, r client.Reader) (*v1alpha1.Mesh, error) {
	var list v1alpha1.MeshList
	if err := r.List(ctx, &list); err != nil {
		return nil, fmt.Errorf("list Meshes: %w", err)
	}
	return Oldest(list.Items), nil
}
