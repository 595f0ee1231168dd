// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import (
	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/names"
)

// podFence: OLM can't install the policy, so it may be missing where everything else is well.
func podFence(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionPermissions, facts.UnreadFence); done {
		return missed
	}
	if !f.Fenced {
		return found(SectionPermissions, Warning,
			"ValidatingAdmissionPolicy "+names.PodFence+" or its binding is missing: only RBAC, which knows no fields, limits what the operator may change on pods",
			"kubectl apply -k config/webhook, of the operator's release")
	}
	return ok(SectionPermissions, "the operator's rights on pods are fenced")
}
