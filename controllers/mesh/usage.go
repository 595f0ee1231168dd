// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/internal/gatewaykinds"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/pages"
)

func (r *Reconciler) lookAtProxies(ctx context.Context, _ *v1alpha1.Mesh, o *plan.Observed) error {
	pods, err := r.proxies(ctx)
	if err != nil {
		return err
	}
	o.Proxies.Total = int32(len(pods))
	o.Proxies.ByVersion = map[string]int32{}
	for _, p := range pods {
		o.Proxies.ByVersion[p.Labels[names.LabelVersion]]++
	}
	return nil
}

// lookAtReports asks the control planes for what proxies report, last of all: a slot that begins to work
// after that is not touched, while a pod that has changed since it was looked at refuses its patch.
func (r *Reconciler) lookAtReports(ctx context.Context, m *v1alpha1.Mesh, o *plan.Observed) error {
	if !m.DeletionTimestamp.IsZero() {
		return nil
	}
	o.Rollout.Proxies, o.CPU, o.Rollout.Complete = r.ControlPlanes.Proxies(ctx, replicas(o))
	if o.Rollout.Complete {
		n := connected(o.Rollout.Proxies)
		o.Proxies.Connected = &n
	}
	return nil
}

// proxies are the pods that carry a proxy and have not ended; the cache holds no others. They must not be changed.
func (r *Reconciler) proxies(ctx context.Context) ([]metav1.PartialObjectMetadata, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	if err := r.Cache.List(ctx, list, client.HasLabels{names.LabelProxy}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list Pods: %w", err)
	}
	return list.Items, nil
}

// lookAtUsage looks at who uses the Mesh, and what has to go with it, once it is being deleted.
func (r *Reconciler) lookAtUsage(ctx context.Context, m *v1alpha1.Mesh, o *plan.Observed) error {
	if m.DeletionTimestamp.IsZero() {
		return nil
	}
	pods, err := r.proxies(ctx)
	if err != nil {
		return err
	}
	for _, p := range pods {
		o.Usage.Pods = append(o.Usage.Pods, p.Namespace+"/"+p.Name)
	}
	slices.Sort(o.Usage.Pods)
	if o.GatewayAPI {
		if o.Usage.Routes, err = r.routes(ctx); err != nil {
			return err
		}
	}
	return r.lookAtLeftovers(ctx, o)
}

// routes are those that the control plane has accepted or refused: it wrote to their status.
func (r *Reconciler) routes(ctx context.Context) ([]string, error) {
	var out []string
	add := func(o client.Object, parents []gwapiv1.RouteParentStatus) {
		if slices.ContainsFunc(parents, func(p gwapiv1.RouteParentStatus) bool { return p.ControllerName == names.ControllerName }) {
			out = append(out, o.GetNamespace()+"/"+o.GetName())
		}
	}
	for _, k := range gatewaykinds.Routes() {
		err := pages.Each(ctx, r.Live, func() client.ObjectList { return k.NewList() }, func(list client.ObjectList) error {
			return meta.EachListItem(list, func(o runtime.Object) error {
				add(o.(client.Object), k.RouteStatus(o.(client.Object)).Parents)
				return nil
			})
		})
		if ignoreMissing(err) != nil { // a cluster may lack the kind
			return nil, fmt.Errorf("list %ss: %w", k.Name, err)
		}
	}
	slices.Sort(out)
	return out, nil
}

// lookAtLeftovers lists what goes with the Mesh without carrying its label: what was made for
// Gateways, and the Secrets that cert-manager wrote. The trust ConfigMaps carry it.
func (r *Reconciler) lookAtLeftovers(ctx context.Context, o *plan.Observed) error {
	for _, k := range OwnedByGateways() {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(k.GroupVersion().WithKind(k.Kind + "List"))
		if err := r.Cache.List(ctx, list, client.HasLabels{names.LabelGateway}); err != nil {
			return fmt.Errorf("list %ss: %w", k.Kind, err)
		}
		for i := range list.Items {
			// Labels prove nothing: an object that no Gateway owns is not deleted.
			if owner := metav1.GetControllerOf(&list.Items[i]); owner != nil && owner.Kind == "Gateway" {
				o.Leftovers = append(o.Leftovers, refTo(k, &list.Items[i]))
			}
		}
	}
	secret := corev1.SchemeGroupVersion.WithKind("Secret")
	for _, name := range []string{names.RootSecret, names.SecondRootSecret, names.IntermediateSecret, names.NextIntermediateSecret} {
		s := kinds.Metadata(secret)
		found, err := r.find(ctx, name, s)
		if err != nil {
			return err
		}
		if found {
			o.Leftovers = append(o.Leftovers, plan.Ref{
				GroupVersionKind: secret,
				NamespacedName:   types.NamespacedName{Namespace: s.Namespace, Name: s.Name},
				UID:              s.UID,
				Deleting:         !s.DeletionTimestamp.IsZero(),
			})
		}
	}
	return nil
}
