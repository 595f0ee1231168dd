// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package trust

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/active"
	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/internal/lifecycle/apply"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/names"
)

// Wanted tells whether a namespace gets the roots: it asks for proxies by its label, is selected
// by the Mesh, or has proxies already (those of single pods, of Gateways, or of earlier days).
func Wanted(m *v1alpha1.Mesh, namespace labels.Set, proxies int) bool {
	if proxies > 0 {
		return true
	}
	switch namespace[names.LabelInject] {
	case names.InjectEnabled:
		return true
	case names.InjectDisabled:
		return false
	}
	if m.Spec.Injection.NamespaceSelector == nil {
		return false
	}
	s, err := metav1.LabelSelectorAsSelector(m.Spec.Injection.NamespaceSelector)
	// A selector that can't be used is told in the Mesh's condition Valid.
	return err == nil && s.Matches(namespace)
}

// Reconciler keeps one namespace's ConfigMap. All fields are read-only after Setup.
type Reconciler struct {
	// Namespace is the system namespace, whose ConfigMap is the original.
	Namespace string
	Apply     *apply.Applier
	// Live reads from the API server, Cache the metadata that is watched.
	Live, Cache client.Reader
	// Unwritten gets the namespaces whose ConfigMap the API server refuses.
	Unwritten *Unwritten
}

// Reconcile does one round for the namespace that the request names.
func (r *Reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if req.Name == r.Namespace {
		return reconcile.Result{}, nil
	}
	m, err := active.Mesh(ctx, r.Cache)
	if err != nil {
		return reconcile.Result{}, err
	}
	if m != nil && !m.DeletionTimestamp.IsZero() {
		// The mesh controller takes the ConfigMaps down in its order.
		return reconcile.Result{}, nil
	}
	ns := kinds.Metadata(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := r.Cache.Get(ctx, client.ObjectKey{Name: req.Name}, ns); err != nil {
		r.Unwritten.set(req.Name, "")
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	if !ns.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil
	}
	wanted := false
	if m != nil {
		n, err := r.proxies(ctx, req.Name)
		if err != nil {
			return reconcile.Result{}, err
		}
		wanted = Wanted(m, ns.Labels, n)
	}
	if !wanted {
		r.Unwritten.set(req.Name, "")
		return reconcile.Result{}, r.remove(ctx, req.Name)
	}
	err = r.copyTo(ctx, m, req.Name)
	if apply.TakenBy(err) == nil && !apply.Refused(err) {
		if err == nil {
			r.Unwritten.set(req.Name, "")
		}
		return reconcile.Result{}, err
	}
	// The namespace's owner, or its administrator, has to do something.
	if r.Unwritten.set(req.Name, err.Error()) {
		ctrl.LoggerFrom(ctx).Info("The roots could not be written", "namespace", req.Name, "because", err.Error())
	}
	return reconcile.Result{RequeueAfter: apply.RefusedWait}, nil
}

// copyTo copies the original, once there is one.
func (r *Reconciler) copyTo(ctx context.Context, m *v1alpha1.Mesh, namespace string) error {
	original := &corev1.ConfigMap{}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: names.TrustConfigMap}, original)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("get ConfigMap %s/%s: %w", r.Namespace, names.TrustConfigMap, err)
	}
	// The coming of the original is watched.
	trusted := render.TrustData{Roots: original.Data[names.TrustKey], Intermediates: original.Data[names.IntermediatesKey]}
	if trusted.Roots == "" || original.Labels[names.LabelMesh] != m.Name {
		return nil
	}
	service := &corev1.Service{}
	err = r.Live.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: names.ControlPlaneService}, service)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("get Service %s/%s: %w", r.Namespace, names.ControlPlaneService, err)
	}
	if err != nil {
		service = nil // its coming is watched, too
	}
	err = r.Apply.Apply(ctx, render.TrustFor(m.Name, namespace, trusted, service))
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return err
}

// remove deletes what this controller made, and nothing of that name that somebody else did.
func (r *Reconciler) remove(ctx context.Context, namespace string) error {
	gvk := corev1.SchemeGroupVersion.WithKind("ConfigMap")
	cm := kinds.Metadata(gvk)
	if err := r.Cache.Get(ctx, client.ObjectKey{Namespace: namespace, Name: names.TrustConfigMap}, cm); err != nil {
		return client.IgnoreNotFound(err)
	}
	if cm.Labels[names.LabelManagedBy] != names.Operator {
		return nil
	}
	return r.Apply.Delete(ctx, plan.Ref{
		GroupVersionKind: gvk, UID: cm.UID,
		NamespacedName: types.NamespacedName{Namespace: namespace, Name: names.TrustConfigMap},
	})
}

// proxies counts the pods of a namespace that carry a proxy and have not ended.
func (r *Reconciler) proxies(ctx context.Context, namespace string) (int, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	if err := r.Cache.List(ctx, list, client.InNamespace(namespace), client.HasLabels{names.LabelProxy}); err != nil {
		return 0, fmt.Errorf("list Pods: %w", err)
	}
	return len(list.Items), nil
}

// Setup has the manager run the reconciler.
func (r *Reconciler) Setup(mgr ctrl.Manager) error {
	// Only a pod's coming and going matters here.
	pods := predicate.Funcs{UpdateFunc: func(event.UpdateEvent) bool { return false }}
	// A Service that is created again has another address; one that changes may get another family.
	services := predicate.Funcs{DeleteFunc: func(event.DeleteEvent) bool { return false }}
	err := ctrl.NewControllerManagedBy(mgr).
		Named("trust").
		For(kinds.Metadata(corev1.SchemeGroupVersion.WithKind("Namespace")), builder.OnlyMetadata, builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WatchesMetadata(kinds.Metadata(corev1.SchemeGroupVersion.WithKind("ConfigMap")), handler.EnqueueRequestsFromMapFunc(r.fromConfigMap)).
		WatchesMetadata(kinds.Metadata(corev1.SchemeGroupVersion.WithKind("Service")), handler.EnqueueRequestsFromMapFunc(r.fromService), builder.WithPredicates(services)).
		WatchesMetadata(kinds.Metadata(corev1.SchemeGroupVersion.WithKind("Pod")), handler.EnqueueRequestsFromMapFunc(namespaceOf), builder.WithPredicates(pods)).
		Watches(&v1alpha1.Mesh{}, handler.EnqueueRequestsFromMapFunc(r.every), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Complete(r)
	if err != nil {
		return fmt.Errorf("set up controller trust: %w", err)
	}
	return nil
}

func namespaceOf(_ context.Context, o client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: o.GetNamespace()}}}
}

// fromConfigMap asks for a look at the ConfigMap's namespace; at every one when it is the original.
func (r *Reconciler) fromConfigMap(ctx context.Context, o client.Object) []reconcile.Request {
	if o.GetName() != names.TrustConfigMap {
		return nil
	}
	if o.GetNamespace() == r.Namespace {
		return r.every(ctx, o)
	}
	return namespaceOf(ctx, o)
}

// fromService asks for a look at every namespace when the control plane's address may have changed.
func (r *Reconciler) fromService(ctx context.Context, o client.Object) []reconcile.Request {
	if !r.controlPlane(o) {
		return nil
	}
	return r.every(ctx, o)
}

func (r *Reconciler) controlPlane(o client.Object) bool {
	return o.GetNamespace() == r.Namespace && o.GetName() == names.ControlPlaneService
}

func (r *Reconciler) every(ctx context.Context, _ client.Object) []reconcile.Request {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("NamespaceList"))
	if err := r.Cache.List(ctx, list); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing Namespaces")
		return nil
	}
	out := make([]reconcile.Request, 0, len(list.Items))
	for _, ns := range list.Items {
		out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Name: ns.Name}})
	}
	return out
}
