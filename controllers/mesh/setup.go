// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"fmt"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/kinds"
)

// Owned are the kinds that a Mesh is made of.
func Owned() []schema.GroupVersionKind {
	return append(builtin(), append([]schema.GroupVersionKind{
		{Group: "gateway.networking.k8s.io", Version: "v1", Kind: "GatewayClass"},
	}, certManager()...)...)
}

func builtin() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		corev1.SchemeGroupVersion.WithKind("ServiceAccount"),
		corev1.SchemeGroupVersion.WithKind("Service"),
		corev1.SchemeGroupVersion.WithKind("ConfigMap"),
		appsv1.SchemeGroupVersion.WithKind("Deployment"),
		appsv1.SchemeGroupVersion.WithKind("DaemonSet"),
		policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"),
		rbacv1.SchemeGroupVersion.WithKind("Role"),
		rbacv1.SchemeGroupVersion.WithKind("RoleBinding"),
		rbacv1.SchemeGroupVersion.WithKind("ClusterRole"),
		rbacv1.SchemeGroupVersion.WithKind("ClusterRoleBinding"),
		admissionv1.SchemeGroupVersion.WithKind("MutatingWebhookConfiguration"),
	}
}

func certManager() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"},
		{Group: "cert-manager.io", Version: "v1", Kind: "Issuer"},
	}
}

// OwnedByGateways are the kinds that a Gateway's proxies are made of.
func OwnedByGateways() []schema.GroupVersionKind {
	return []schema.GroupVersionKind{
		corev1.SchemeGroupVersion.WithKind("ServiceAccount"),
		corev1.SchemeGroupVersion.WithKind("Service"),
		appsv1.SchemeGroupVersion.WithKind("Deployment"),
		policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"),
		autoscalingv2.SchemeGroupVersion.WithKind("HorizontalPodAutoscaler"),
	}
}

// churn is how long changes of pods are gathered before the proxies are counted again.
const churn = 2 * time.Second

// Setup has the manager run the reconciler, and the gate start the watches on kinds that may be
// missing. Whatever changes, every Mesh is looked at: there is one, and a look is cheap.
func (r *Reconciler) Setup(mgr ctrl.Manager, gate *kinds.Gate) error {
	changed := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, predicate.LabelChangedPredicate{})
	b := ctrl.NewControllerManagedBy(mgr).
		Named("mesh").
		For(&v1alpha1.Mesh{}, builder.WithPredicates(changed)).
		// A Mesh that has gone may leave its place to the next one.
		Watches(&v1alpha1.Mesh{}, handler.EnqueueRequestsFromMapFunc(r.every), builder.WithPredicates(onlyDeletions())).
		WatchesMetadata(kinds.Definition(), handler.EnqueueRequestsFromMapFunc(r.every)).
		WatchesMetadata(kinds.Metadata(corev1.SchemeGroupVersion.WithKind("Secret")), handler.EnqueueRequestsFromMapFunc(r.every)).
		WatchesMetadata(kinds.Metadata(corev1.SchemeGroupVersion.WithKind("Pod")), r.everyAfter(churn), builder.WithPredicates(predicate.Or(onlyComings(), predicate.LabelChangedPredicate{})))
	for _, k := range builtin() {
		b = b.WatchesMetadata(kinds.Metadata(k), handler.EnqueueRequestsFromMapFunc(r.every))
	}
	if r.Unwritten != nil {
		b = b.WatchesRawSource(source.Channel(r.Unwritten.Changed(), handler.EnqueueRequestsFromMapFunc(r.every)))
	}
	c, err := b.Build(r)
	if err != nil {
		return fmt.Errorf("set up controller mesh: %w", err)
	}
	namespaced, clusterWide := kinds.CertManager()[:2], kinds.CertManager()[2:]
	gate.When(kinds.CertManager(), r.watch(r.Here, c, namespaced))
	gate.When(kinds.CertManager(), r.watch(mgr.GetCache(), c, clusterWide))
	gate.When(kinds.GatewayAPI(), r.watch(mgr.GetCache(), c, kinds.GatewayAPI()[:1]))
	gate.When(kinds.XMesh(), r.watch(mgr.GetCache(), c, kinds.XMesh()))
	r.watchReferrers(mgr.GetCache(), c, gate)
	return nil
}

func (r *Reconciler) watch(from cache.Cache, c controller.Controller, list []kinds.Kind) func() error {
	return func() error {
		for _, k := range list {
			every := handler.EnqueueRequestsFromMapFunc(r.every)
			var o client.Object = kinds.Metadata(k.GroupVersionKind)
			if err := c.Watch(source.Kind(from, o, every)); err != nil {
				return fmt.Errorf("watch %ss: %w", k.Kind, err)
			}
		}
		return nil
	}
}

// every asks for a look at every Mesh.
func (r *Reconciler) every(ctx context.Context, _ client.Object) []reconcile.Request {
	var list v1alpha1.MeshList
	if err := r.Cache.List(ctx, &list); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing Meshes")
		return nil
	}
	out := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return out
}

// everyAfter asks for a look at every Mesh after a while, once for all that happens meanwhile.
func (r *Reconciler) everyAfter(d time.Duration) handler.EventHandler {
	add := func(ctx context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		for _, req := range r.every(ctx, nil) {
			q.AddAfter(req, d)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, _ event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, q)
		},
		UpdateFunc: func(ctx context.Context, _ event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, q)
		},
		DeleteFunc: func(ctx context.Context, _ event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			add(ctx, q)
		},
	}
}

func onlyDeletions() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(event.CreateEvent) bool { return false },
		UpdateFunc: func(event.UpdateEvent) bool { return false },
		DeleteFunc: func(event.DeleteEvent) bool { return true },
	}
}

// onlyComings lets creations and deletions through.
func onlyComings() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
}
