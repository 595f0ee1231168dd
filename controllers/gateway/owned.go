// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gateway

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/controllers/kinds"
	"tulle.dev/tulle/controllers/mesh"
	"tulle.dev/tulle/internal/lifecycle/apply"
	"tulle.dev/tulle/internal/lifecycle/plan"
	"tulle.dev/tulle/internal/lifecycle/render"
	"tulle.dev/tulle/internal/names"
)

// belongs tells whether an object was made for this very Gateway: it is owned by it, or the operator has
// applied it and no other controller owns it (kubectl delete gateway --cascade=orphan leaves such objects).
func belongs(o client.Object, gw *gwapiv1.Gateway) bool {
	return owned(o, gw.UID) || metav1.GetControllerOf(o) == nil && apply.Applied(o.GetManagedFields())
}

func owned(o client.Object, gateway types.UID) bool {
	return slices.ContainsFunc(o.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return ref.UID == gateway })
}

// ownerOf is the Gateway that an object was made for; empty if it was made for none. One that has lost its
// owner is found by its label, as far as that is the Gateway's name.
func ownerOf(o client.Object) types.NamespacedName {
	ref := metav1.GetControllerOf(o)
	if name := o.GetLabels()[names.LabelGateway]; ref == nil && name != "" {
		return types.NamespacedName{Namespace: o.GetNamespace(), Name: name}
	}
	if ref == nil || ref.Kind != "Gateway" || !strings.HasPrefix(ref.APIVersion, gwapiv1.GroupName+"/") {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: ref.Name}
}

// taken says which of the objects cannot be applied because another object has the name already; empty if
// all can. Such an object is never adopted, changed or deleted.
func (r *Reconciler) taken(ctx context.Context, gw *gwapiv1.Gateway, objects []render.Object) (string, error) {
	var others, ending []string
	for _, o := range objects {
		gvk, key := o.GroupVersionKind(), client.ObjectKeyFromObject(o)
		now := kinds.Metadata(gvk)
		if err := r.Cache.Get(ctx, key, now); err == nil && owned(now, gw.UID) {
			continue
		}
		now = kinds.Metadata(gvk) // the cache has neither objects of others nor managed fields
		err := r.Live.Get(ctx, key, now)
		switch name := gvk.Kind + " " + key.Name; {
		case apierrors.IsNotFound(err):
		case err != nil:
			return "", fmt.Errorf("get %s: %w", name, err)
		case belongs(now, gw):
		case metav1.GetControllerOf(now) != nil && ownerOf(now) == client.ObjectKeyFromObject(gw):
			ending = append(ending, name)
		default:
			others = append(others, name)
		}
	}
	switch {
	case len(others) > 0:
		return fmt.Sprintf("%s of namespace %s already exists and does not belong to this Gateway. It is left as it is, and nothing is deployed: delete or rename it, or give the Gateway another name",
			strings.Join(others, ", "), gw.Namespace), nil
	case len(ending) > 0:
		return fmt.Sprintf("%s belongs to a deleted Gateway of the same name; waiting for Kubernetes to delete it", strings.Join(ending, ", ")), nil
	}
	return "", nil
}

// serviceName is the name of the Gateway's Service. Release 0.2.0 gave the Services of Gateways whose names
// begin with a digit the plain name, if Kubernetes allows that; they keep it, and their address.
func (r *Reconciler) serviceName(ctx context.Context, gw *gwapiv1.Gateway) (string, error) {
	plain, fit := names.GatewayResource(gw.Name), names.GatewayService(gw.Name)
	if plain == fit {
		return fit, nil
	}
	key := client.ObjectKey{Namespace: gw.Namespace, Name: plain}
	svc := kinds.Metadata(corev1.SchemeGroupVersion.WithKind("Service"))
	if err := r.Live.Get(ctx, key, svc); apierrors.IsNotFound(err) {
		return fit, nil
	} else if err != nil {
		return "", fmt.Errorf("get Service %s: %w", key, err)
	}
	if belongs(svc, gw) {
		return plain, nil
	}
	return fit, nil
}

// remove deletes what was made for the Gateway and is not among keep.
func (r *Reconciler) remove(ctx context.Context, gw *gwapiv1.Gateway, keep []render.Object) error {
	for _, gvk := range mesh.OwnedByGateways() {
		if _, err := r.removeKind(ctx, gw, gvk, keep...); err != nil {
			return err
		}
	}
	return nil
}

// removeKind deletes the objects of one kind that were made for the Gateway and are not among keep, and
// tells whether there were any.
func (r *Reconciler) removeKind(ctx context.Context, gw *gwapiv1.Gateway, gvk schema.GroupVersionKind, keep ...render.Object) (bool, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(gvk.GroupVersion().WithKind(gvk.Kind + "List"))
	if err := r.Cache.List(ctx, list, client.InNamespace(gw.Namespace), client.MatchingLabels{names.LabelManagedBy: names.Operator}); err != nil {
		return false, fmt.Errorf("list %ss of Gateway %s/%s: %w", gvk.Kind, gw.Namespace, gw.Name, err)
	}
	found := false
	for i := range list.Items {
		o := &list.Items[i]
		kept := slices.ContainsFunc(keep, func(k render.Object) bool { return k.GetKind() == gvk.Kind && k.GetName() == o.Name })
		if kept || !owned(o, gw.UID) {
			continue
		}
		found = true
		if err := r.Apply.Delete(ctx, plan.Ref{GroupVersionKind: gvk, NamespacedName: client.ObjectKeyFromObject(o), UID: o.UID}); err != nil {
			return false, err
		}
	}
	return found, nil
}

// autoscalerKind is the kind of what sets the number of a Gateway's proxies.
func autoscalerKind() schema.GroupVersionKind {
	return schema.GroupVersionKind{Group: "autoscaling", Version: "v2", Kind: "HorizontalPodAutoscaler"}
}
