// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package apply

import (
	"context"
	"fmt"

	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/lifecycle/missing"
)

// evict asks for a pod to go, as a drain of its node would. One that a PodDisruptionBudget keeps is
// asked again another time; one that has gone, or another one of its name, is no error.
func (a *Applier) evict(ctx context.Context, p missing.Pod) error {
	eviction := &policyv1.Eviction{
		ObjectMeta:    metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name},
		DeleteOptions: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &p.UID}},
	}
	// For a budget that nobody has looked at yet, the server asks to come again in ten seconds, and a
	// client that did, ten times, would hold up everything else that the operator does.
	err := a.core.Post().Resource("pods").Namespace(p.Namespace).Name(p.Name).SubResource("eviction").
		Body(eviction).MaxRetries(0).Do(ctx).Error()
	if err == nil || apierrors.IsTooManyRequests(err) || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("evict Pod %s/%s: %w", p.Namespace, p.Name, err)
}
