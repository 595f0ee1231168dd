// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gateway

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/pages"
)

// parentField is the index of ListenerSets by the Gateway that they name: a look at a Gateway costs nothing for the
// sets of others.
const parentField = "parent"

func parentIndex(o client.Object) []string {
	return []string{parentOf(o.(*gwapiv1.ListenerSet)).String()}
}

// specChanged lets changes of a ListenerSet's spec through. Its status is of no interest here.
func specChanged() predicate.Predicate { return predicate.GenerationChangedPredicate{} }

func (r *Reconciler) watchSets(mgr ctrl.Manager, c controller.Controller) error {
	if err := mgr.GetFieldIndexer().IndexField(context.Background(), &gwapiv1.ListenerSet{}, parentField, parentIndex); err != nil {
		return fmt.Errorf("index ListenerSets: %w", err)
	}
	of := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: parentOf(o.(*gwapiv1.ListenerSet))}}
	})
	if err := c.Watch(source.Kind[client.Object](mgr.GetCache(), &gwapiv1.ListenerSet{}, of, specChanged())); err != nil {
		return fmt.Errorf("watch ListenerSets: %w", err)
	}
	r.withSets.Store(true)
	return nil
}

// sets are the ListenerSets that name the Gateway.
func (r *Reconciler) sets(ctx context.Context, gateway types.NamespacedName) ([]gwapiv1.ListenerSet, error) {
	var out []gwapiv1.ListenerSet
	var err error
	if r.withSets.Load() {
		var list gwapiv1.ListenerSetList
		err = r.Cache.List(ctx, &list, client.MatchingFields{parentField: gateway.String()})
		out = list.Items
	} else {
		// An operator that has just started must not take the ports of sets away that it does not watch yet.
		err = pages.Each(ctx, r.Live, func() *gwapiv1.ListenerSetList { return &gwapiv1.ListenerSetList{} }, func(list *gwapiv1.ListenerSetList) error {
			for _, s := range list.Items {
				if parentOf(&s) == gateway {
					out = append(out, s)
				}
			}
			return nil
		})
	}
	if err != nil && !meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("list ListenerSets: %w", err)
	}
	return out, nil
}

// parentOf is the Gateway that a ListenerSet names.
func parentOf(s *gwapiv1.ListenerSet) types.NamespacedName {
	key := types.NamespacedName{Namespace: s.Namespace, Name: string(s.Spec.ParentRef.Name)}
	if ns := s.Spec.ParentRef.Namespace; ns != nil {
		key.Namespace = string(*ns)
	}
	return key
}
