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
	"tulle.dev/tulle/internal/names"
)

// referrer is a kind on which it depends whether the control plane has to read Secrets or ConfigMaps.
type referrer struct {
	installed []kinds.Kind // what has to be installed for it
	object    client.Object
	list      client.ObjectList
}

// referrers are the kinds, with lists of them in r.
func referrers(r *references) []referrer {
	return []referrer{
		{kinds.GatewayAPI(), &gwapiv1.GatewayClass{}, &r.classes},
		{kinds.GatewayAPI(), &gwapiv1.Gateway{}, &r.gateways},
		{kinds.ListenerSet(), &gwapiv1.ListenerSet{}, &r.sets},
		{kinds.BackendTLSPolicy(), &gwapiv1.BackendTLSPolicy{}, &r.policies},
	}
}

// references are the objects that may refer to Secrets and ConfigMaps, and the classes that tell which of them Tulle serves.
type references struct {
	classes  gwapiv1.GatewayClassList
	gateways gwapiv1.GatewayList
	sets     gwapiv1.ListenerSetList
	policies gwapiv1.BackendTLSPolicyList
}

// lookAtReferences finds out whether the control plane has to read any Secret or ConfigMap.
func (r *Reconciler) lookAtReferences(ctx context.Context, _ *v1alpha1.Mesh, o *plan.Observed) error {
	var in references
	for _, k := range referrers(&in) {
		there, err := r.Kinds.Installed(ctx, k.installed)
		if err != nil {
			return err
		}
		if !there {
			continue
		}
		if err := r.Cache.List(ctx, k.list, client.UnsafeDisableDeepCopy); err != nil { // they are only read
			return fmt.Errorf("list %T: %w", k.list, err)
		}
	}
	o.References = in.any()
	return nil
}

// any reports whether something that Tulle serves refers to a Secret or a ConfigMap: a Gateway of a class of this
// controller, a ListenerSet of such a Gateway, or a BackendTLSPolicy. It reports true wherever the control plane reads
// one (internal/controlplane/referenced); whether the reference is permitted is not looked at.
func (r *references) any() bool {
	controller := r.controllers()
	served := map[client.ObjectKey]bool{}
	for i := range r.gateways.Items {
		gw := &r.gateways.Items[i]
		if controller[gw.Spec.GatewayClassName] != names.ControllerName {
			continue
		}
		if refers(gw) {
			return true
		}
		served[client.ObjectKeyFromObject(gw)] = true
	}
	return slices.ContainsFunc(r.sets.Items, func(s gwapiv1.ListenerSet) bool { return refers(&s) && served[parentOf(&s)] }) ||
		slices.ContainsFunc(r.policies.Items, func(p gwapiv1.BackendTLSPolicy) bool { return refers(&p) })
}

// parentOf returns the Gateway that a ListenerSet names as its parent; zero if it names something else.
func parentOf(s *gwapiv1.ListenerSet) client.ObjectKey {
	ref := s.Spec.ParentRef
	if ref.Group != nil && *ref.Group != gwapiv1.GroupName || ref.Kind != nil && *ref.Kind != "Gateway" {
		return client.ObjectKey{}
	}
	key := client.ObjectKey{Namespace: s.Namespace, Name: string(ref.Name)}
	if ref.Namespace != nil {
		key.Namespace = string(*ref.Namespace)
	}
	return key
}

// refers reports whether an object refers to a Secret or a ConfigMap, whether it may or not, and whatever its class.
func refers(o client.Object) bool {
	switch o := o.(type) {
	case *gwapiv1.Gateway:
		ends := func(li gwapiv1.Listener) bool { return hasCertificate(li.TLS) }
		return slices.ContainsFunc(o.Spec.Listeners, ends) || o.Spec.TLS != nil && tlsRefers(o.Spec.TLS)
	case *gwapiv1.ListenerSet:
		ends := func(li gwapiv1.ListenerEntry) bool { return hasCertificate(li.TLS) }
		return slices.ContainsFunc(o.Spec.Listeners, ends)
	case *gwapiv1.BackendTLSPolicy:
		return slices.ContainsFunc(o.Spec.Validation.CACertificateRefs, func(ref gwapiv1.LocalObjectReference) bool {
			return isConfigMap(ref.Group, ref.Kind)
		})
	}
	return false
}

// hasCertificate reports whether a listener terminates TLS with a certificate from a Secret.
func hasCertificate(t *gwapiv1.ListenerTLSConfig) bool {
	if t == nil || t.Mode != nil && *t.Mode == gwapiv1.TLSModePassthrough {
		return false
	}
	return slices.ContainsFunc(t.CertificateRefs, isSecret)
}

// tlsRefers reports whether a Gateway has a certificate for its backends, or authorities for its clients.
func tlsRefers(t *gwapiv1.GatewayTLSConfig) bool {
	if b := t.Backend; b != nil && b.ClientCertificateRef != nil && isSecret(*b.ClientCertificateRef) {
		return true
	}
	f := t.Frontend
	if f == nil {
		return false
	}
	verifies := func(c gwapiv1.TLSConfig) bool {
		return c.Validation != nil && slices.ContainsFunc(c.Validation.CACertificateRefs, func(ref gwapiv1.ObjectReference) bool {
			return isConfigMap(ref.Group, ref.Kind)
		})
	}
	return verifies(f.Default) || slices.ContainsFunc(f.PerPort, func(p gwapiv1.TLSPortConfig) bool { return verifies(p.TLS) })
}

func isSecret(ref gwapiv1.SecretObjectReference) bool {
	return (ref.Group == nil || *ref.Group == "") && (ref.Kind == nil || *ref.Kind == "Secret")
}

func isConfigMap(g gwapiv1.Group, k gwapiv1.Kind) bool {
	return (g == "" || g == "core") && k == "ConfigMap"
}

// relevance is what references.any depends on in one object. Objects whose relevance is zero do not matter.
type relevance struct {
	refers bool
	// of is the class of a Gateway, or the Gateway of a ListenerSet that refers to something.
	of string
}

func relevanceOf(o client.Object) relevance {
	w := relevance{refers: refers(o)}
	switch o := o.(type) {
	case *gwapiv1.GatewayClass:
		w.of = string(o.Spec.ControllerName)
	case *gwapiv1.Gateway:
		w.of = string(o.Spec.GatewayClassName)
	case *gwapiv1.ListenerSet:
		if w.refers {
			w.of = parentOf(o).String()
		}
	}
	return w
}

// referring lets events through that may change references.any.
func referring() predicate.Predicate {
	p := predicate.NewPredicateFuncs(func(o client.Object) bool { return relevanceOf(o) != relevance{} })
	return predicate.Funcs{
		CreateFunc: p.Create, DeleteFunc: p.Delete, GenericFunc: p.Generic,
		UpdateFunc: func(e event.UpdateEvent) bool { return relevanceOf(e.ObjectOld) != relevanceOf(e.ObjectNew) },
	}
}

// watchReferrers looks at every Mesh when what refers to Secrets and ConfigMaps may have changed.
func (r *Reconciler) watchReferrers(from cache.Cache, c controller.Controller, gate *kinds.Gate) {
	for _, k := range referrers(&references{}) {
		gate.When(k.installed, func() error {
			every := handler.EnqueueRequestsFromMapFunc(r.every)
			if err := c.Watch(source.Kind(from, k.object, every, referring())); err != nil {
				return fmt.Errorf("watch %T: %w", k.object, err)
			}
			return nil
		})
	}
}
