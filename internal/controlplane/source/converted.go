// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/pages"
)

// converted is an object of the API server after its feed has converted it; value is nil if the feed leaves it out.
//
// A reflector holds all objects of a kind until it has read the last one, and whoever may create objects decides how
// large they are. So objects are converted when they are read: one at a time from a stream, a page at a time from a
// list.
type converted struct {
	key   model.Key
	value any
}

// GetObjectMeta is for a reflector, which keeps objects by name (metav1.ObjectMetaAccessor).
func (c *converted) GetObjectMeta() metav1.Object {
	return &metav1.ObjectMeta{Namespace: c.key.Namespace, Name: c.key.Name}
}

// GetObjectKind and DeepCopyObject are for the list in which a reflector gets objects (runtime.Object).
func (c *converted) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }

// DeepCopyObject returns a copy that shares the value, which is never changed.
func (c *converted) DeepCopyObject() runtime.Object {
	out := *c
	return &out
}

// read converts an object, unless it has been converted.
func (f feed) read(obj any) (*converted, error) {
	switch o := obj.(type) {
	case *converted:
		return o, nil
	case client.Object:
		return &converted{key: keyOf(o), value: f.convert(o)}, nil
	}
	return nil, fmt.Errorf("%T is not an object of the API server", obj)
}

// collect returns a list of objects of the API server, read in pages of bounded size. page returns an empty page, and
// options are those of each request. read returns what to keep of an object of a page, or nil for nothing.
func collect[L client.ObjectList](ctx context.Context, c client.Reader, page func() L, read func(runtime.Object) (runtime.Object, error), options ...client.ListOption) (runtime.Object, error) {
	out := &internalversion.List{}
	err := pages.Each(ctx, c, page, func(l L) error {
		out.ResourceVersion = l.GetResourceVersion()
		// With copies, an object that is kept does not keep its page.
		return meta.EachListItemWithAlloc(l, func(o runtime.Object) error {
			kept, err := read(o)
			if err == nil && kept != nil {
				out.Items = append(out.Items, kept)
			}
			return err
		})
	}, options...)
	if err != nil {
		return nil, err
	}
	return out, nil
}
