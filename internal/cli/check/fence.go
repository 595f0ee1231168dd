// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import "tulle.dev/tulle/internal/cli/facts"

// fences: OLM can't install the policies, so they may be missing where everything else is well.
func fences(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionPermissions, facts.UnreadFence); done {
		return missed
	}
	if len(f.Unfenced) > 0 {
		return found(SectionPermissions, Warning,
			"ValidatingAdmissionPolicy "+few(f.Unfenced)+" or its binding is missing: only RBAC, which knows no fields, limits what the operator may change there",
			"kubectl apply -k config/webhook, of the operator's release")
	}
	return ok(SectionPermissions, "the operator's rights on pods and workloads are fenced")
}
