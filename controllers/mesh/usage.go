// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/names"
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

// proxies are the pods that carry a proxy and have not ended; the cache holds no others.
func (r *Reconciler) proxies(ctx context.Context) ([]metav1.PartialObjectMetadata, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	if err := r.Cache.List(ctx, list, client.HasLabels{names.LabelProxy}); err != nil {
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
	var http gwapiv1.HTTPRouteList
	if err := r.Live.List(ctx, &http); ignoreMissing(err) != nil {
		return nil, fmt.Errorf("list HTTPRoutes: %w", err)
	}
	for i := range http.Items {
		add(&http.Items[i], http.Items[i].Status.Parents)
	}
	var grpc gwapiv1.GRPCRouteList
	if err := r.Live.List(ctx, &grpc); ignoreMissing(err) != nil {
		return nil, fmt.Errorf("list GRPCRoutes: %w", err)
	}
	for i := range grpc.Items {
		add(&grpc.Items[i], grpc.Items[i].Status.Parents)
	}
	if err := r.byteRoutes(ctx, add); err != nil {
		return nil, err
	}
	slices.Sort(out)
	return out, nil
}

// byteRoutes looks at the routes whose kinds a cluster may lack.
func (r *Reconciler) byteRoutes(ctx context.Context, add func(client.Object, []gwapiv1.RouteParentStatus)) error {
	var tls gwapiv1.TLSRouteList
	if err := r.Live.List(ctx, &tls); ignoreMissing(err) != nil {
		return fmt.Errorf("list TLSRoutes: %w", err)
	}
	for i := range tls.Items {
		add(&tls.Items[i], tls.Items[i].Status.Parents)
	}
	var tcp gwapiv1.TCPRouteList
	if err := r.Live.List(ctx, &tcp); ignoreMissing(err) != nil {
		return fmt.Errorf("list TCPRoutes: %w", err)
	}
	for i := range tcp.Items {
		add(&tcp.Items[i], tcp.Items[i].Status.Parents)
	}
	var udp gwapiv1.UDPRouteList
	if err := r.Live.List(ctx, &udp); ignoreMissing(err) != nil {
		return fmt.Errorf("list UDPRoutes: %w", err)
	}
	for i := range udp.Items {
		add(&udp.Items[i], udp.Items[i].Status.Parents)
	}
	return nil
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
