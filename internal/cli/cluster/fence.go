// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/names"
)

// fence looks for the policy that fences the operator's rights on pods: a
// policy without a binding that denies does nothing.
func (c *Cluster) fence(ctx context.Context, f *facts.Facts) error {
	api := c.typed.AdmissionregistrationV1()
	_, err := api.ValidatingAdmissionPolicies().Get(ctx, names.PodFence, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	binding, err := api.ValidatingAdmissionPolicyBindings().Get(ctx, names.PodFence, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	f.Fenced = binding.Spec.PolicyName == names.PodFence && slices.Contains(binding.Spec.ValidationActions, admissionv1.Deny)
	return nil
}
