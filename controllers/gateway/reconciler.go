// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gateway

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/active"
	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/controllers/mesh"
	"tulle.dev/tulle/internal/lifecycle/apply"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/release"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/names"
)

// Reconciler deploys the proxies of Gateways. All fields are read-only after Setup.
type Reconciler struct {
	// Namespace is where the control plane lives.
	Namespace string
	Known     release.Catalog
	Apply     *apply.Applier
	Client    client.Client
	// Live reads from the API server, Cache what is watched.
	Live, Cache client.Reader
	Now         func() time.Time

	// withSets is set once ListenerSets are watched.
	withSets atomic.Bool
}

// Reconcile does one round for one Gateway.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	gw := &gwapiv1.Gateway{}
	if err := r.Live.Get(ctx, req.NamespacedName, gw); err != nil {
		// What was made for it is owned by it and goes with it.
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !gw.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil
	}
	ours, err := r.ours(ctx, gw)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !ours {
		// It never was, or it changed its class.
		return reconcile.Result{}, r.remove(ctx, gw, nil)
	}
	m, err := active.Mesh(ctx, r.Cache)
	if err != nil {
		return reconcile.Result{}, err
	}
	if m == nil {
		if err := r.remove(ctx, gw, nil); err != nil {
			return reconcile.Result{}, err
		}
		return reconcile.Result{}, r.say(ctx, gw, health.Verdict{Reason: v1alpha1.ReasonNoMesh, Message: "there is no Mesh; make one, and the Gateway is served"})
	}
	if !m.DeletionTimestamp.IsZero() {
		// The mesh controller takes everything down in its order.
		return reconcile.Result{}, nil
	}
	verdict, err := r.deploy(ctx, m, gw)
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, r.say(ctx, gw, verdict)
}

// ours tells whether the Gateway's class is Tulle's.
func (r *Reconciler) ours(ctx context.Context, gw *gwapiv1.Gateway) (bool, error) {
	class := &gwapiv1.GatewayClass{}
	err := r.Cache.Get(ctx, client.ObjectKey{Name: string(gw.Spec.GatewayClassName)}, class)
	if apierrors.IsNotFound(err) {
		// Somebody deleted it. What it served goes on being served while the mesh controller makes it again.
		return gw.Spec.GatewayClassName == names.GatewayClass, nil
	}
	if err != nil {
		return false, fmt.Errorf("get GatewayClass %s: %w", gw.Spec.GatewayClassName, err)
	}
	return class.Spec.ControllerName == names.ControllerName, nil
}

// deploy brings the Gateway's objects about and says how they are.
func (r *Reconciler) deploy(ctx context.Context, m *v1alpha1.Mesh, gw *gwapiv1.Gateway) (health.Verdict, error) {
	if n := len(gw.Name); n > render.MaxGatewayName {
		return health.Verdict{Reason: v1alpha1.ReasonNameTooLong, Message: fmt.Sprintf(
			"the name has %d characters and the names of its objects would be too long; write at most %d", n, render.MaxGatewayName,
		)}, nil
	}
	rel, ok := r.Known.Find(cmp.Or(m.Status.GatewayVersion, m.Status.Version))
	if !ok {
		return health.Verdict{Reason: v1alpha1.ReasonNoMesh, Message: fmt.Sprintf(
			"Mesh %s has no control plane yet; see its conditions: kubectl get mesh.tulle.dev %s -o yaml", m.Name, m.Name,
		)}, nil
	}
	sets, err := r.sets(ctx, gw)
	if err != nil {
		return health.Verdict{}, err
	}
	objects := render.Gateway(render.Input{Mesh: m, Release: rel, Namespace: r.Namespace}, gw, sets...)
	for _, o := range objects {
		err := r.Apply.Apply(ctx, o)
		if err == nil {
			continue
		}
		// The user can do something about a refusal, and trying again can't.
		if apierrors.IsInvalid(err) || apierrors.IsBadRequest(err) || apierrors.IsForbidden(err) {
			return health.Verdict{Reason: v1alpha1.ReasonRefused, Message: err.Error()}, nil
		}
		return health.Verdict{}, err
	}
	if err := r.remove(ctx, gw, objects); err != nil {
		return health.Verdict{}, err
	}
	return r.judge(ctx, m, gw, sets)
}

// sets are the ListenerSets that name the Gateway.
func (r *Reconciler) sets(ctx context.Context, gw *gwapiv1.Gateway) ([]gwapiv1.ListenerSet, error) {
	reader := r.Live // an operator that has just started must not take the ports of sets away that it does not watch yet
	if r.withSets.Load() {
		reader = r.Cache
	}
	var list gwapiv1.ListenerSetList
	if err := reader.List(ctx, &list); meta.IsNoMatchError(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("list ListenerSets: %w", err)
	}
	return slices.DeleteFunc(list.Items, func(s gwapiv1.ListenerSet) bool { return parentOf(&s) != client.ObjectKeyFromObject(gw) }), nil
}

// parentOf is the Gateway that a ListenerSet names.
func parentOf(s *gwapiv1.ListenerSet) types.NamespacedName {
	key := types.NamespacedName{Namespace: s.Namespace, Name: string(s.Spec.ParentRef.Name)}
	if ns := s.Spec.ParentRef.Namespace; ns != nil {
		key.Namespace = string(*ns)
	}
	return key
}

// judge looks at the Deployment and the Service.
func (r *Reconciler) judge(ctx context.Context, m *v1alpha1.Mesh, gw *gwapiv1.Gateway, sets []gwapiv1.ListenerSet) (health.Verdict, error) {
	if len(render.GatewayPorts(gw, sets...)) == 0 {
		return health.Verdict{Reason: v1alpha1.ReasonNoPorts, Message: "the Gateway has no listener; add one, of protocol HTTP for example"}, nil
	}
	key := client.ObjectKey{Namespace: gw.Namespace, Name: names.GatewayResource(gw.Name)}
	d := &appsv1.Deployment{}
	if err := r.Live.Get(ctx, key, d); client.IgnoreNotFound(err) != nil {
		return health.Verdict{}, fmt.Errorf("get Deployment %s: %w", key, err)
	}
	if d.Status.ReadyReplicas == 0 {
		var pods corev1.PodList
		if err := r.Live.List(ctx, &pods, client.InNamespace(gw.Namespace), client.MatchingLabels{
			names.LabelGateway: gw.Name, names.LabelProxy: names.KindGateway,
		}); err != nil {
			return health.Verdict{}, fmt.Errorf("list Pods of Gateway %s: %w", key, err)
		}
		h := health.Deployment(d, pods.Items, "the proxy")
		return health.Verdict{Reason: v1alpha1.ReasonProxyNotReady, Message: h.Message}, nil
	}
	svc := &corev1.Service{}
	if err := r.Live.Get(ctx, key, svc); client.IgnoreNotFound(err) != nil {
		return health.Verdict{}, fmt.Errorf("get Service %s: %w", key, err)
	}
	if m.Spec.Gateway.ServiceType == "LoadBalancer" && len(svc.Status.LoadBalancer.Ingress) == 0 {
		return health.Verdict{Reason: v1alpha1.ReasonAddressPending, Message: fmt.Sprintf(
			"Service %s of type LoadBalancer has no address yet; if this cluster has nothing that gives addresses, set spec.gateway.serviceType of the Mesh to NodePort or ClusterIP", key.Name,
		)}, nil
	}
	return health.Verdict{Good: true, Reason: v1alpha1.ReasonDeployed, Message: "the proxies of the Gateway serve"}, nil
}

// remove deletes what was made for the Gateway and is not among keep.
func (r *Reconciler) remove(ctx context.Context, gw *gwapiv1.Gateway, keep []render.Object) error {
	for _, gvk := range mesh.OwnedByGateways() {
		if slices.ContainsFunc(keep, func(o render.Object) bool { return o.GetKind() == gvk.Kind }) {
			continue
		}
		o := kinds.Metadata(gvk)
		key := types.NamespacedName{Namespace: gw.Namespace, Name: names.GatewayResource(gw.Name)}
		err := r.Cache.Get(ctx, key, o)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("get %s %s: %w", gvk.Kind, key, err)
		}
		owned := slices.ContainsFunc(o.OwnerReferences, func(ref metav1.OwnerReference) bool { return ref.UID == gw.UID })
		if !owned {
			continue
		}
		if err := r.Apply.Delete(ctx, plan.Ref{GroupVersionKind: gvk, NamespacedName: key, UID: o.UID}); err != nil {
			return err
		}
	}
	return nil
}

// gatewayOf is the Gateway that an object was made for; empty: none.
func gatewayOf(o client.Object) types.NamespacedName {
	name := o.GetLabels()[names.LabelGateway]
	if name == "" || !strings.HasPrefix(o.GetName(), name) {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: name}
}
