// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package mesh

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/api/v1alpha1"
)

// conditionsOf returns the conditions of a Mesh: those that are wanted, and of the old ones those that other
// controllers have written. The time of a condition changes only with its status.
func conditionsOf(want, old []metav1.Condition, now time.Time) []metav1.Condition {
	var out []metav1.Condition
	for _, c := range want {
		c.LastTransitionTime = metav1.NewTime(now)
		if o := meta.FindStatusCondition(old, c.Type); o != nil && o.Status == c.Status {
			c.LastTransitionTime = o.LastTransitionTime
		}
		out = append(out, c)
	}
	for _, o := range old {
		if !slices.Contains(ownConditions(), o.Type) && meta.FindStatusCondition(out, o.Type) == nil {
			out = append(out, o)
		}
	}
	return out
}

// ownConditions are the types of conditions that Tulle writes on a Mesh.
func ownConditions() []string {
	return []string{
		v1alpha1.ConditionReady, v1alpha1.ConditionValid, v1alpha1.ConditionCertificatesReady, v1alpha1.ConditionControlPlaneReady,
		v1alpha1.ConditionInjectionReady, v1alpha1.ConditionUpgraded, v1alpha1.ConditionIntermediatesRequired,
		v1alpha1.ConditionConflicted, v1alpha1.ConditionInUse,
	}
}
