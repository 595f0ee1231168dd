// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gateway

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/controllers/mesh"
)

// Setup has the manager run the reconciler once the Gateway API is installed.
func (r *Reconciler) Setup(mgr ctrl.Manager, gate *kinds.Gate) error {
	c, err := controller.New("gateway", mgr, controller.Options{Reconciler: r})
	if err != nil {
		return fmt.Errorf("set up controller gateway: %w", err)
	}
	gate.When(kinds.GatewayAPI(), func() error { return r.watch(mgr, c) })
	gate.When(kinds.ListenerSet(), func() error { return r.watchSets(mgr, c) })
	return nil
}

func (r *Reconciler) watch(mgr ctrl.Manager, c controller.Controller) error {
	every := handler.EnqueueRequestsFromMapFunc(r.every)
	self := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(o)}}
	})
	made := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		if key := ownerOf(o); key.Name != "" {
			return []reconcile.Request{{NamespacedName: key}}
		}
		return nil
	})
	type watch struct {
		object  client.Object
		handler handler.EventHandler
		when    []predicate.Predicate
	}
	watches := []watch{
		// The rest of the status is the control plane's and changes often.
		{&gwapiv1.Gateway{}, self, []predicate.Predicate{accepting{}}},
		{&gwapiv1.GatewayClass{}, every, []predicate.Predicate{predicate.GenerationChangedPredicate{}}},
		// The status of the Mesh says which release serves.
		{&v1alpha1.Mesh{}, every, []predicate.Predicate{concerning{}}},
	}
	for _, gvk := range mesh.OwnedByGateways() {
		watches = append(watches, watch{kinds.Metadata(gvk), made, nil})
	}
	for _, w := range watches {
		if err := c.Watch(source.Kind(mgr.GetCache(), w.object, w.handler, w.when...)); err != nil {
			return fmt.Errorf("watch %T: %w", w.object, err)
		}
	}
	return nil
}

// every asks for a look at every Gateway.
func (r *Reconciler) every(ctx context.Context, _ client.Object) []reconcile.Request {
	var list gwapiv1.GatewayList
	if err := r.Cache.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil { // only names are read
		ctrl.LoggerFrom(ctx).Error(err, "Listing Gateways")
		return nil
	}
	out := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return out
}

// accepting lets changes of a Gateway through that concern its deployment: its spec, and whether it is accepted.
type accepting struct {
	predicate.GenerationChangedPredicate
}

// Update tells whether the spec has changed, or the control plane's decision about it.
func (a accepting) Update(e event.UpdateEvent) bool {
	before, ok1 := e.ObjectOld.(*gwapiv1.Gateway)
	after, ok2 := e.ObjectNew.(*gwapiv1.Gateway)
	if a.GenerationChangedPredicate.Update(e) || !ok1 || !ok2 {
		return true
	}
	refusedBefore, _ := refusal(before)
	refusedAfter, _ := refusal(after)
	return refusedBefore != refusedAfter || judged(before) != judged(after)
}

// concerning lets changes of a Mesh through that concern its Gateways.
type concerning struct {
	predicate.GenerationChangedPredicate
}

// Update tells whether the spec has changed, or the release that serves.
func (c concerning) Update(e event.UpdateEvent) bool {
	before, ok1 := e.ObjectOld.(*v1alpha1.Mesh)
	after, ok2 := e.ObjectNew.(*v1alpha1.Mesh)
	return c.GenerationChangedPredicate.Update(e) || ok1 && ok2 && (before.Status.Version != after.Status.Version || before.Status.GatewayVersion != after.Status.GatewayVersion)
}
