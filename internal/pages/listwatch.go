// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pages

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ListWatch returns a ListerWatcher for a reflector or an informer that watches as lw does, and lists in pages of
// bounded size. keep returns what to keep of an object of a page, or nil for nothing; it may change the object. A
// reflector holds all objects of a list until it has read the last one, so that what it converts later is too late.
// Objects of a stream it converts one at a time, if its store has a transformer.
func ListWatch(lw cache.ListerWatcher, keep func(runtime.Object) (runtime.Object, error)) cache.ListerWatcher {
	from := cache.ToListerWatcherWithContext(lw)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			// All of it, whatever the options: for version 0 the API server answers all at once from its cache.
			out := &internalversion.List{}
			err := Read(ctx, func(ctx context.Context, limit int64, token string) (client.ObjectList, error) {
				page, err := from.ListWithContext(ctx, metav1.ListOptions{Limit: limit, Continue: token})
				if err != nil {
					return nil, err
				}
				list, ok := page.(client.ObjectList)
				if !ok {
					return nil, fmt.Errorf("%T is not a list of the API server", page)
				}
				return list, nil
			}, func(page client.ObjectList) error {
				out.ResourceVersion = page.GetResourceVersion()
				// With copies, an object that is kept does not keep its page.
				return meta.EachListItemWithAlloc(page, func(o runtime.Object) error {
					kept, err := keep(o)
					if err == nil && kept != nil {
						out.Items = append(out.Items, kept)
					}
					return err
				})
			})
			if err != nil {
				return nil, err
			}
			return out, nil
		},
		WatchFuncWithContext: from.WatchWithContext,
	}
}
