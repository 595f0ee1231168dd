// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package policy

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// maxAncestors is how many a policy's status may have (PolicyStatus.ancestors).
const maxAncestors = 16

// conditionResolvedRefs is the same for all kinds of policies.
const conditionResolvedRefs = "ResolvedRefs"

// Ancestors is the status of a policy on each of its ancestors that are ours. Times are zero. At most 16.
func Ancestors(l Lookup, p *Policy) []gwapiv1.PolicyAncestorStatus {
	accepted, refs := p.spec.judge(l)
	if f := Attach(l, p); !f.OK {
		accepted = f
	}
	resolved := gatewayapi.Finding{OK: true, Reason: conditionResolvedRefs, Message: "All references are resolved"}
	if len(refs) > 0 {
		resolved = gatewayapi.Finding{Reason: refs[0].Reason, Message: gatewayapi.Tell(refs)}
	}
	var out []gwapiv1.PolicyAncestorStatus
	for _, to := range p.spec.ancestors(l, p) {
		out = append(out, gwapiv1.PolicyAncestorStatus{AncestorRef: reference(to), ControllerName: names.ControllerName, Conditions: []metav1.Condition{
			accepted.Condition(string(gwapiv1.PolicyConditionAccepted), p.generation),
			resolved.Condition(conditionResolvedRefs, p.generation),
		}})
	}
	return out[:min(len(out), maxAncestors)]
}

func reference(to model.Object) gwapiv1.ParentReference {
	group, kind, ns := gwapiv1.Group(gwapiv1.GroupName), gwapiv1.Kind(to.Kind), gwapiv1.Namespace(to.Namespace)
	if to.Kind == gatewayapi.KindService {
		group = ""
	}
	return gwapiv1.ParentReference{Group: &group, Kind: &kind, Namespace: &ns, Name: gwapiv1.ObjectName(to.Name)}
}
