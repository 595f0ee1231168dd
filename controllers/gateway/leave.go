// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gateway

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/apply"
	"tulle.dev/tulle/internal/names"
)

// leave takes what Tulle has written out of the status of a Gateway that it no longer serves, and out of
// its ListenerSets'. deployed keeps the condition tulle.dev/Deployed. It tells whether there was anything.
func (r *Reconciler) leave(ctx context.Context, gw *gwapiv1.Gateway, deployed bool) (bool, error) {
	cleared, err := r.leaveSets(ctx, client.ObjectKeyFromObject(gw))
	if err != nil {
		return false, err
	}
	now := &gwapiv1.Gateway{} // condition Deployed may have been written since
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(gw), now); err != nil {
		return cleared, client.IgnoreNotFound(err)
	}
	before := now.DeepCopy()
	now.Status = LeftGateway(now, deployed)
	changed, err := r.clear(ctx, now, before, equality.Semantic.DeepEqual(before.Status, now.Status))
	if err != nil {
		return false, fmt.Errorf("clear the status of Gateway %s/%s: %w", gw.Namespace, gw.Name, err)
	}
	return cleared || changed, nil
}

// leaveSets does the same for the ListenerSets of a Gateway.
func (r *Reconciler) leaveSets(ctx context.Context, gateway types.NamespacedName) (bool, error) {
	sets, err := r.sets(ctx, gateway)
	if err != nil {
		return false, err
	}
	cleared := false
	for i := range sets {
		now := &gwapiv1.ListenerSet{} // the cache has no managed fields
		if err := r.Live.Get(ctx, client.ObjectKeyFromObject(&sets[i]), now); err != nil {
			if client.IgnoreNotFound(err) != nil {
				return false, fmt.Errorf("get ListenerSet %s/%s: %w", sets[i].Namespace, sets[i].Name, err)
			}
			continue
		}
		before := now.DeepCopy()
		now.Status = LeftListenerSet(now)
		changed, err := r.clear(ctx, now, before, equality.Semantic.DeepEqual(before.Status, now.Status))
		if err != nil {
			return false, fmt.Errorf("clear the status of ListenerSet %s/%s: %w", now.Namespace, now.Name, err)
		}
		cleared = cleared || changed
	}
	return cleared, nil
}

func (r *Reconciler) clear(ctx context.Context, after, before client.Object, same bool) (bool, error) {
	if same {
		return false, nil
	}
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := r.Client.Status().Patch(ctx, after, patch, client.FieldOwner(statusOwner))
	return true, client.IgnoreNotFound(err)
}

// LeftGateway is the status of a Gateway without what Tulle has written and no other controller has
// changed since. deployed keeps the condition tulle.dev/Deployed.
func LeftGateway(gw *gwapiv1.Gateway, deployed bool) gwapiv1.GatewayStatus {
	s := *gw.Status.DeepCopy()
	w := written(gw.ManagedFields)
	s.Conditions = slices.DeleteFunc(s.Conditions, func(c metav1.Condition) bool {
		if c.Type == v1alpha1.ConditionDeployed {
			return !deployed
		}
		return w.ours("f:conditions", `k:{"type":"`+c.Type+`"}`)
	})
	if w.ours("f:addresses") {
		s.Addresses = nil
	}
	if w.ours("f:attachedListenerSets") {
		s.AttachedListenerSets = nil
	}
	s.Listeners = slices.DeleteFunc(s.Listeners, func(l gwapiv1.ListenerStatus) bool {
		return w.ours("f:listeners", `k:{"name":"`+string(l.Name)+`"}`)
	})
	// What is left of listeners has something of others in it.
	for i := range s.Listeners {
		l := &s.Listeners[i]
		at := []string{"f:listeners", `k:{"name":"` + string(l.Name) + `"}`}
		l.Conditions = slices.DeleteFunc(l.Conditions, func(c metav1.Condition) bool {
			return w.ours(append(at, "f:conditions", `k:{"type":"`+c.Type+`"}`)...)
		})
		if w.ours(append(at, "f:attachedRoutes")...) {
			l.AttachedRoutes = 0
		}
	}
	return s
}

// LeftListenerSet is LeftGateway for a ListenerSet.
func LeftListenerSet(set *gwapiv1.ListenerSet) gwapiv1.ListenerSetStatus {
	s := *set.Status.DeepCopy()
	w := written(set.ManagedFields)
	s.Conditions = slices.DeleteFunc(s.Conditions, func(c metav1.Condition) bool {
		return w.ours("f:conditions", `k:{"type":"`+c.Type+`"}`)
	})
	s.Listeners = slices.DeleteFunc(s.Listeners, func(l gwapiv1.ListenerEntryStatus) bool {
		return w.ours("f:listeners", `k:{"name":"`+string(l.Name)+`"}`)
	})
	return s
}

// written is who wrote what to a status.
type written []metav1.ManagedFieldsEntry

// ours tells whether Tulle alone manages a field of the status. A controller that takes an object over
// changes each condition at least in its generation or time, and so manages some of it.
func (w written) ours(path ...string) bool {
	we, others := apply.Owners(w, func(e metav1.ManagedFieldsEntry) bool {
		return e.Subresource == "status" && (e.Manager == names.FieldManager || e.Manager == statusOwner)
	}, append([]string{"f:status"}, path...)...)
	return we && !others
}
