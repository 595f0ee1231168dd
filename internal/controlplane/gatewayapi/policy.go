// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// maxAncestors is how many a policy's status may have (PolicyStatus.ancestors).
const maxAncestors = 16

// BackendTLSPolicyAncestors is the status of a policy on each of its ancestors that are ours: the
// Gateways whose routes send to the target, and where the namespace is meshed the target itself, since
// the sidecars of all its clients obey the policy too. Times are zero. Sorted, at most 16.
func BackendTLSPolicyAncestors(l Lookup, p *gwapiv1.BackendTLSPolicy) []gwapiv1.PolicyAncestorStatus {
	_, accepted, refs := judge(l, p)
	if f := standing(l, p); !f.ok {
		accepted = f
	}
	resolved := finding{true, string(gwapiv1.BackendTLSPolicyReasonResolvedRefs), "All references are resolved"}
	if len(refs) > 0 {
		resolved = finding{false, refs[0].reason, tell(refs)}
	}
	var out []gwapiv1.PolicyAncestorStatus
	for _, ref := range ancestors(l, p) {
		out = append(out, gwapiv1.PolicyAncestorStatus{AncestorRef: ref, ControllerName: names.ControllerName, Conditions: []metav1.Condition{
			accepted.condition(string(gwapiv1.PolicyConditionAccepted), p.Generation),
			resolved.condition(string(gwapiv1.BackendTLSPolicyConditionResolvedRefs), p.Generation),
		}})
	}
	return out[:min(len(out), maxAncestors)]
}

// standing tells whether the policy has its target, which exists, for itself.
func standing(l Lookup, p *gwapiv1.BackendTLSPolicy) finding {
	for i, ref := range p.Spec.TargetRefs {
		key, section := model.Key{Namespace: p.Namespace, Name: string(ref.Name)}, string(or(ref.SectionName, ""))
		if !targets(ref, key) {
			continue // of a kind that is nobody's, or another controller's
		}
		svc, ok := l.Service(key)
		if !ok {
			return finding{false, string(gwapiv1.PolicyReasonTargetNotFound), fmt.Sprintf("spec.targetRefs[%d]: Service %s does not exist", i, key)}
		}
		if len(selectedPorts(svc, section)) == 0 {
			return finding{false, string(gwapiv1.PolicyReasonTargetNotFound), fmt.Sprintf("spec.targetRefs[%d].sectionName: Service %s has no TCP port of the name %q; it has %s", i, key, section, portList(svc))}
		}
		for _, other := range l.BackendTLSPolicies(key) {
			same := slices.ContainsFunc(other.Spec.TargetRefs, func(o gwapiv1.LocalPolicyTargetReferenceWithSectionName) bool {
				return targets(o, key) && string(or(o.SectionName, "")) == section
			})
			if same && olderPolicy(other, p) < 0 {
				return finding{false, string(gwapiv1.PolicyReasonConflicted), fmt.Sprintf("spec.targetRefs[%d]: BackendTLSPolicy %s has the same target and is older, or of the same age and before this one in the alphabet", i, other.Name)}
			}
		}
	}
	return finding{ok: true}
}

// selectedPorts are the TCP ports of a Service that a section name stands for; empty: all.
func selectedPorts(svc model.Service, section string) []model.ServicePort {
	var out []model.ServicePort
	for _, p := range svc.Ports {
		if p.Protocol != model.UDP && (section == "" || p.Name == section) {
			out = append(out, p)
		}
	}
	return out
}

func ancestors(l Lookup, p *gwapiv1.BackendTLSPolicy) []gwapiv1.ParentReference {
	var gateways []model.Key
	var out []gwapiv1.ParentReference
	for _, key := range BackendTLSTargets(p) {
		svc, _ := l.Service(key)
		for _, port := range svc.Ports {
			gateways = append(gateways, sending(l, model.PortKey{Service: key, Port: port.Port})...)
		}
		// A Service that does not exist is reported where it would be in the mesh by its namespace.
		if ns, known := l.Namespace(key.Namespace); known && (ns.Meshed || l.Fronted(key)) {
			out = append(out, ancestor("", KindService, key))
		}
	}
	slices.SortFunc(gateways, func(a, b model.Key) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	for _, k := range slices.Compact(gateways) {
		if _, ours := gatewayOf(l, k); ours {
			out = append(out, ancestor(gwapiv1.GroupName, KindGateway, k))
		}
	}
	return out
}

// sending are the Gateways, of whatever class, whose routes for requests send to a Service port and may.
func sending(l Lookup, port model.PortKey) (gateways []model.Key) {
	for _, k := range RouteKinds() {
		if k.IsOpaque() {
			continue
		}
		for _, r := range l.Senders(port, k.Name) {
			if mayRefer(l, grantee{k.Name, r.source.Namespace}, KindService, port.Service) {
				gateways = append(gateways, r.gateways(l)...)
			}
		}
	}
	return gateways
}

// gateways are the Gateways, of whatever class, that a route names, or that its ListenerSets name.
func (r *Route) gateways(l Lookup) (out []model.Key) {
	for _, to := range r.Parents() {
		key := model.Key{Namespace: to.Namespace, Name: to.Name}
		switch to.Kind {
		case KindGateway:
			out = append(out, key)
		case KindListenerSet:
			if set, ok := l.ListenerSet(key); ok {
				if gw, ok := ListenerSetGateway(set); ok {
					out = append(out, gw)
				}
			}
		}
	}
	return out
}

func ancestor(group gwapiv1.Group, kind gwapiv1.Kind, k model.Key) gwapiv1.ParentReference {
	ns := gwapiv1.Namespace(k.Namespace)
	return gwapiv1.ParentReference{Group: &group, Kind: &kind, Namespace: &ns, Name: gwapiv1.ObjectName(k.Name)}
}
