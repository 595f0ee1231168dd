// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package check

import (
	"fmt"
	"strings"

	"tulle.dev/tulle/internal/cli/facts"
	"tulle.dev/tulle/internal/names"
)

// ephemeralContainers: as for fences. Where the facts are missing, fences says so.
func ephemeralContainers(f facts.Facts) []Finding {
	if _, missed := f.Missed(facts.UnreadFence); missed || !f.EphemeralOpen {
		return nil
	}
	return found(SectionPermissions, Warning,
		"ValidatingAdmissionPolicy "+names.EphemeralContainersPolicy+" or its binding is missing: an ephemeral container of a meshed pod (kubectl debug) can run as the proxy or mount its files",
		"kubectl apply -k config/webhook, of the operator's release")
}

// fences: OLM can't install the policies, so they may be missing where everything else is well.
func fences(f facts.Facts) []Finding {
	if missed, done := unread(f, SectionPermissions, facts.UnreadFence); done {
		return missed
	}
	if len(f.Unfenced) > 0 {
		return found(SectionPermissions, Warning,
			"ValidatingAdmissionPolicy "+few(f.Unfenced)+" is missing, or its binding or the ClusterRole that it reads is: only RBAC, which knows no names on creation and no fields, limits what the operator's account can do there",
			"apply the policies of the operator's release: kubectl apply -k config/webhook, or with OLM: kubectl apply -f bundle/fences")
	}
	for _, p := range f.Fences {
		for _, o := range f.Operator {
			user := "system:serviceaccount:" + o.Namespace + ":" + o.Account
			if o.Account != "" && p.Account != "" && !strings.HasSuffix(user, p.Account) {
				return found(SectionPermissions, Warning,
					fmt.Sprintf("ValidatingAdmissionPolicy %s does not apply to the operator: it is about the account %s, and the operator's is %s", p.Policy, p.Account, user),
					"kubectl apply -k config/webhook, of the operator's release, and leave the operator's ServiceAccount its name "+names.Operator)
			}
		}
	}
	return ok(SectionPermissions, "admission policies limit the accounts of the operator and of the control plane")
}
