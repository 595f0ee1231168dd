// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cluster

import (
	"context"
	"maps"
	"regexp"
	"slices"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/names"
)

// fences looks for the policies that fence the operator's rights, and for the one about ephemeral containers: a
// policy without a binding that denies does nothing.
func (c *Cluster) fences(ctx context.Context, f *facts.Facts) error {
	for _, name := range names.Fences() {
		policy, err := c.fenced(ctx, name)
		switch {
		case err != nil:
			return err
		case policy == nil:
			f.Unfenced = append(f.Unfenced, name)
		default:
			f.Fences = append(f.Fences, facts.Fence{Policy: name, Account: accountOf(policy)})
		}
	}
	policy, err := c.fenced(ctx, names.EphemeralContainersPolicy)
	f.EphemeralOpen = policy == nil
	return err
}

// whole tells whether a binding is about all that the operator may write: about everything, or about the objects
// with the label without which another policy refuses the operator's writes.
func whole(m *admissionv1.MatchResources) bool {
	if m == nil {
		return true
	}
	everywhere := m.NamespaceSelector == nil || len(m.NamespaceSelector.MatchLabels)+len(m.NamespaceSelector.MatchExpressions) == 0
	return everywhere && len(m.ResourceRules)+len(m.ExcludeResourceRules) == 0 && (m.ObjectSelector == nil ||
		len(m.ObjectSelector.MatchExpressions) == 0 && maps.Equal(m.ObjectSelector.MatchLabels, map[string]string{names.LabelManagedBy: names.Operator}))
}

// fenced returns a policy that is bound and denies; nil if it is not there or does not.
func (c *Cluster) fenced(ctx context.Context, name string) (*admissionv1.ValidatingAdmissionPolicy, error) {
	api := c.typed.AdmissionregistrationV1()
	policy, err := api.ValidatingAdmissionPolicies().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	binding, err := api.ValidatingAdmissionPolicyBindings().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, ignoreNotFound(err)
	}
	if binding.Spec.PolicyName != name || !slices.Contains(binding.Spec.ValidationActions, admissionv1.Deny) || !whole(binding.Spec.MatchResources) {
		return nil, nil
	}
	// Without what its parameters are read from, a policy allows everything.
	if ref := binding.Spec.ParamRef; ref != nil {
		if _, err := c.typed.RbacV1().ClusterRoles().Get(ctx, ref.Name, metav1.GetOptions{}); err != nil {
			return nil, ignoreNotFound(err)
		}
	}
	return policy, nil
}

// accountOf finds the account that a policy's conditions name, as facts.Fence has it: releases up to
// 0.2.0 compare with a whole user name, later ones with its end.
func accountOf(policy *admissionv1.ValidatingAdmissionPolicy) string {
	account := regexp.MustCompile(`'(system:serviceaccount:[^:']+:[^:']+|:[^:']+)'`)
	for _, c := range policy.Spec.MatchConditions {
		if m := account.FindStringSubmatch(c.Expression); m != nil {
			return m[1]
		}
	}
	return ""
}

func ignoreNotFound(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
