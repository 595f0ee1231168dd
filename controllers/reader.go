// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controllers

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

const certManager = "cert-manager.io"

// reader reads cert-manager's namespaced kinds from a cache of the operator's namespace, and
// everything else from the manager's cache. The manager's can't be limited to a namespace for
// kinds that are not installed yet. The operator reads cert-manager's kinds as metadata, which says what they are.
type reader struct {
	client.Reader
	here client.Reader
}

// Get reads an object.
func (r reader) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if gvk := o.GetObjectKind().GroupVersionKind(); gvk.Group == certManager && gvk.Kind != "ClusterIssuer" {
		return r.here.Get(ctx, key, o, opts...)
	}
	return r.Reader.Get(ctx, key, o, opts...)
}

// List reads objects.
func (r reader) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if gvk := list.GetObjectKind().GroupVersionKind(); gvk.Group == certManager && gvk.Kind != "ClusterIssuerList" {
		return r.here.List(ctx, list, opts...)
	}
	return r.Reader.List(ctx, list, opts...)
}
