// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/controlplane/model"
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
