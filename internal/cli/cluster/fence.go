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

// fences looks for the policies that fence the operator's rights: a policy
// without a binding that denies does nothing.
func (c *Cluster) fences(ctx context.Context, f *facts.Facts) error {
	for _, name := range []string{names.PodFence, names.WorkloadFence} {
		there, err := c.fenced(ctx, name)
		if err != nil {
			return err
		}
		if !there {
			f.Unfenced = append(f.Unfenced, name)
		}
	}
	return nil
}

func (c *Cluster) fenced(ctx context.Context, name string) (bool, error) {
	api := c.typed.AdmissionregistrationV1()
	_, err := api.ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return false, ignoreNotFound(err)
	}
	binding, err := api.ValidatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return false, ignoreNotFound(err)
	}
	return binding.Spec.PolicyName == name && slices.Contains(binding.Spec.ValidationActions, admissionv1.Deny), nil
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
