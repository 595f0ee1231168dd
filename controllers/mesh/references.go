// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"fmt"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/internal/lifecycle/plan"
)

// referrer is a kind whose objects may refer to Secrets or ConfigMaps that the control plane has to read.
type referrer struct {
	installed []kinds.Kind // what has to be installed for it
	object    client.Object
	list      func() client.ObjectList
}

func referrers() []referrer {
	return []referrer{
		{kinds.GatewayAPI(), &gwapiv1.Gateway{}, func() client.ObjectList { return &gwapiv1.GatewayList{} }},
		{kinds.ListenerSet(), &gwapiv1.ListenerSet{}, func() client.ObjectList { return &gwapiv1.ListenerSetList{} }},
		{kinds.BackendTLSPolicy(), &gwapiv1.BackendTLSPolicy{}, func() client.ObjectList { return &gwapiv1.BackendTLSPolicyList{} }},
	}
}

// lookAtReferences finds out whether the control plane has to read any Secret or ConfigMap.
func (r *Reconciler) lookAtReferences(ctx context.Context, _ *v1alpha1.Mesh, o *plan.Observed) error {
	for _, k := range referrers() {
		there, err := r.Kinds.Installed(ctx, k.installed)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		list := k.list()
		if err := r.Cache.List(ctx, list); err != nil {
			return fmt.Errorf("list %T: %w", list, err)
		}
		o.References = o.References || anyRefers(list)
	}
	return nil
}

func anyRefers(list client.ObjectList) bool {
	switch l := list.(type) {
	case *gwapiv1.GatewayList:
		return slices.ContainsFunc(l.Items, func(g gwapiv1.Gateway) bool { return refers(&g) })
	case *gwapiv1.ListenerSetList:
		return slices.ContainsFunc(l.Items, func(s gwapiv1.ListenerSet) bool { return refers(&s) })
	case *gwapiv1.BackendTLSPolicyList:
		return slices.ContainsFunc(l.Items, func(p gwapiv1.BackendTLSPolicy) bool { return refers(&p) })
	}
	return false
}

// refers reports whether an object refers to a Secret or a ConfigMap, whether it may or not, and whatever its class.
func refers(o client.Object) bool {
	switch o := o.(type) {
	case *gwapiv1.Gateway:
		ends := func(li gwapiv1.Listener) bool { return li.TLS != nil && len(li.TLS.CertificateRefs) > 0 }
		return o.Spec.TLS != nil || slices.ContainsFunc(o.Spec.Listeners, ends)
	case *gwapiv1.ListenerSet:
		ends := func(li gwapiv1.ListenerEntry) bool { return li.TLS != nil && len(li.TLS.CertificateRefs) > 0 }
		return slices.ContainsFunc(o.Spec.Listeners, ends)
	case *gwapiv1.BackendTLSPolicy:
		return len(o.Spec.Validation.CACertificateRefs) > 0
	}
	return false
}

// referring lets objects through that refer to something, or that did before.
func referring() predicate.Predicate {
	p := predicate.NewPredicateFuncs(refers)
	return predicate.Funcs{
		CreateFunc: p.Create, DeleteFunc: p.Delete, GenericFunc: p.Generic,
		UpdateFunc: func(e event.UpdateEvent) bool { return refers(e.ObjectOld) != refers(e.ObjectNew) },
	}
}

// watchReferrers looks at every Mesh when what refers to Secrets and ConfigMaps may have changed.
func (r *Reconciler) watchReferrers(from cache.Cache, c controller.Controller, gate *kinds.Gate) {
	for _, k := range referrers() {
		gate.When(k.installed, func() error {
			every := handler.EnqueueRequestsFromMapFunc(r.every)
			if err := c.Watch(source.Kind(from, k.object, every, referring())); err != nil {
				return fmt.Errorf("watch %T: %w", k.object, err)
			}
			return nil
		})
	}
}
