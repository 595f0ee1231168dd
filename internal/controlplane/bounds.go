// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/pages"
)

// maxBounds is how many bytes of LimitRanges, and of ResourceQuotas, are read of a namespace, as the API server
// stores them. Their number and size are a tenant's choice.
const maxBounds = 128 << 10

// boundsReader reads from the API server; of LimitRanges and ResourceQuotas, which it reads in pages, it returns
// names and specs, and no more than maxBounds. The API server enforces the rest when the pod is created.
type boundsReader struct{ client.Reader }

// List reads LimitRanges or ResourceQuotas.
func (b boundsReader) List(ctx context.Context, out client.ObjectList, options ...client.ListOption) error {
	left := maxBounds
	var items []runtime.Object
	full := errors.New("full")
	fresh := func() client.ObjectList { return out.DeepCopyObject().(client.ObjectList) }
	err := pages.Each(ctx, b.Reader, fresh, func(page client.ObjectList) error {
		return meta.EachListItemWithAlloc(page, func(o runtime.Object) error {
			spec, size := specOf(o)
			if spec == nil {
				return fmt.Errorf("%T is neither a LimitRange nor a ResourceQuota", o)
			}
			if left -= size; left < 0 {
				return full
			}
			items = append(items, spec)
			return nil
		})
	}, options...)
	if err != nil && !errors.Is(err, full) {
		return err
	}
	if err := meta.SetList(out, items); err != nil {
		return fmt.Errorf("set items of %T: %w", out, err)
	}
	return nil
}

// specOf returns the object without the metadata that is not needed, and the size of all of it.
func specOf(o runtime.Object) (spec runtime.Object, size int) {
	switch o := o.(type) {
	case *corev1.LimitRange:
		return &corev1.LimitRange{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}, Spec: o.Spec}, o.Size()
	case *corev1.ResourceQuota:
		return &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: o.Name}, Spec: o.Spec}, o.Size()
	}
	return nil, 0
}
