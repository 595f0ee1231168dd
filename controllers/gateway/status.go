// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gateway

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/lifecycle/health"
	"tulle.dev/tulle/internal/names"
)

// statusOwner owns the one condition that the operator writes. It is not the owner of the control
// plane's conditions, so neither can take the other's away.
const statusOwner = names.FieldManager + "-operator"

// say writes condition tulle.dev/Deployed, if it says anything new.
func (r *Reconciler) say(ctx context.Context, gw *gwapiv1.Gateway, v health.Verdict) error {
	status := metav1.ConditionFalse
	if v.Good {
		status = metav1.ConditionTrue
	}
	since := r.Now()
	if old := meta.FindStatusCondition(gw.Status.Conditions, v1alpha1.ConditionDeployed); old != nil {
		if old.Status == status && old.Reason == v.Reason && old.Message == v.Message && old.ObservedGeneration == gw.Generation {
			return nil
		}
		if old.Status == status {
			since = old.LastTransitionTime.Time
		}
	}
	condition := map[string]any{
		"type":               v1alpha1.ConditionDeployed,
		"status":             string(status),
		"reason":             v.Reason,
		"message":            v.Message,
		"observedGeneration": gw.Generation,
		"lastTransitionTime": since.UTC().Format(time.RFC3339),
	}
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error { return r.write(ctx, gw, condition) })
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("apply status of Gateway %s/%s: %w", gw.Namespace, gw.Name, err)
	}
	return nil
}

// write applies a condition of the Gateway as it was read, unless it has been edited since: the next round
// is under way then, and who waits for the status of the edit must not be told of what was before it.
func (r *Reconciler) write(ctx context.Context, gw *gwapiv1.Gateway, condition map[string]any) error {
	now := &gwapiv1.Gateway{}
	if err := r.Live.Get(ctx, client.ObjectKeyFromObject(gw), now); err != nil || now.UID != gw.UID || now.Generation != gw.Generation {
		return err
	}
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(gwapiv1.GroupVersion.String())
	u.SetKind("Gateway")
	u.SetNamespace(gw.Namespace)
	u.SetName(gw.Name)
	u.SetResourceVersion(now.ResourceVersion)
	u.Object["status"] = map[string]any{"conditions": []any{condition}}
	return r.Client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(statusOwner), client.ForceOwnership)
}
