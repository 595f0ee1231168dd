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
	u := &unstructured.Unstructured{}
	u.SetAPIVersion(gwapiv1.GroupVersion.String())
	u.SetKind("Gateway")
	u.SetNamespace(gw.Namespace)
	u.SetName(gw.Name)
	u.Object["status"] = map[string]any{"conditions": []any{map[string]any{
		"type":               v1alpha1.ConditionDeployed,
		"status":             string(status),
		"reason":             v.Reason,
		"message":            v.Message,
		"observedGeneration": gw.Generation,
		"lastTransitionTime": since.UTC().Format(time.RFC3339),
	}}}
	err := r.Client.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(statusOwner), client.ForceOwnership)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("apply status of Gateway %s/%s: %w", gw.Namespace, gw.Name, err)
	}
	return nil
}
