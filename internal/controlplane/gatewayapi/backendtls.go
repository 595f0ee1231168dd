// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"fmt"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// maxServerName is the longest server name that Envoy takes; DNS ends before.
const maxServerName = 253

// BackendTLS is how a proxy speaks TLS with the endpoints of a Service port that have no proxy, by
// the BackendTLSPolicy in effect on the port, and what is spoken inside it; nil where there is no
// policy. A policy that can't be carried out is in effect all the same: nothing may be sent then.
func BackendTLS(l Lookup, port model.PortKey) (*model.BackendTLS, model.Protocol) {
	svc, ok := l.Service(port.Service)
	if !ok {
		return nil, ""
	}
	sp, ok := portOf(svc, port.Port)
	if !ok || !hasBackendTLS(l, svc.Key, sp) {
		return nil, ""
	}
	tls, _, _ := judge(l, policyOn(l, svc.Key, sp.Name))
	return &tls, protocolInTLS(l, port, sp)
}

// hasBackendTLS tells whether a policy is in effect on a port, usable or not.
func hasBackendTLS(l Lookup, service model.Key, p model.ServicePort) bool {
	return p.Protocol != model.UDP && policyOn(l, service, p.Name) != nil
}

// protocolInTLS is what is spoken inside TLS that a proxy begins. A port that is declared as TLS says
// nothing of that: the routes that send to it do.
func protocolInTLS(l Lookup, port model.PortKey, sp model.ServicePort) model.Protocol {
	if sp.Protocol.IsHTTP() {
		return sp.Protocol
	}
	if _, grpc := sentTo(l, port); grpc {
		return model.GRPC
	}
	return model.HTTP
}

// via is the variant of a port's cluster that a rule at this site sends to.
func (s site) via(service model.Key, p model.ServicePort) model.Via {
	if !hasBackendTLS(s.l, service, p) {
		return model.Via{}
	}
	return model.Via{TLS: true, Gateway: s.certificate}
}

// policyOn is the policy in effect on the port of that name: one for the port alone comes before one
// for the whole Service (GEP-713, the most specific section wins), an older before a younger.
func policyOn(l Lookup, service model.Key, port string) *gwapiv1.BackendTLSPolicy {
	var best *gwapiv1.BackendTLSPolicy
	section := ""
	for _, p := range l.BackendTLSPolicies(service) {
		for _, ref := range p.Spec.TargetRefs {
			s := string(or(ref.SectionName, ""))
			if !targets(ref, service) || s != "" && s != port {
				continue
			}
			if best == nil || s != "" && section == "" || (s != "") == (section != "") && olderPolicy(p, best) < 0 {
				best, section = p, s
			}
		}
	}
	return best
}

// targets tells whether a reference of a policy in the Service's namespace leads to the Service.
func targets(ref gwapiv1.LocalPolicyTargetReferenceWithSectionName, service model.Key) bool {
	return isCore(ref.Group) && ref.Kind == KindService && string(ref.Name) == service.Name
}

// olderPolicy orders policies of a namespace as BackendTLSPolicySpec.targetRefs says.
func olderPolicy(a, b *gwapiv1.BackendTLSPolicy) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
}

// BackendTLSTargets are the Services that a policy targets, each once, whether they exist or not;
// Lookup.BackendTLSPolicies is made from it.
func BackendTLSTargets(p *gwapiv1.BackendTLSPolicy) []model.Key {
	var out []model.Key
	seen := map[model.Key]bool{}
	for _, ref := range p.Spec.TargetRefs {
		k := model.Key{Namespace: p.Namespace, Name: string(ref.Name)}
		if targets(ref, k) && !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	}
	return out
}

// judge reads a policy: what it makes of TLS, whether it can be carried out, and what is wrong with
// its references. It does not look at other policies.
func judge(l Lookup, p *gwapiv1.BackendTLSPolicy) (tls model.BackendTLS, accepted finding, refs []problem) {
	no := func(reason gwapiv1.PolicyConditionReason, format string, args ...any) (model.BackendTLS, finding, []problem) {
		return model.BackendTLS{Unusable: true}, finding{false, string(reason), fmt.Sprintf(format, args...)}, refs
	}
	v := p.Spec.Validation
	for i, ref := range v.CACertificateRefs {
		a := authority{
			field: fmt.Sprintf("spec.validation.caCertificateRefs[%d]", i), group: string(ref.Group), kind: string(ref.Kind),
			at: model.Key{Namespace: p.Namespace, Name: string(ref.Name)},
		}
		if why := a.unusable(l, string(gwapiv1.BackendTLSPolicyReasonInvalidKind)); why != nil {
			refs = append(refs, *why)
			continue
		}
		tls.Authorities = append(tls.Authorities, a.at)
	}
	wellKnown := string(or(v.WellKnownCACertificates, ""))
	switch {
	case len(p.Spec.TargetRefs) > 1:
		return no(gwapiv1.PolicyReasonInvalid, "spec.targetRefs: only one target is supported; write a policy for each")
	case len(p.Spec.Options) > 0:
		return no(gwapiv1.PolicyReasonInvalid, "spec.options: none is supported")
	case wellKnown != "" && len(v.CACertificateRefs) == 0 && wellKnown != string(gwapiv1.WellKnownCACertificatesSystem):
		return no(gwapiv1.PolicyReasonInvalid, "spec.validation.wellKnownCACertificates: %q is not supported, only System", wellKnown)
	case wellKnown != "" && len(v.CACertificateRefs) == 0:
		tls.System = true
	case len(tls.Authorities) == 0:
		return no(gwapiv1.BackendTLSPolicyReasonNoValidCACertificate, "spec.validation.caCertificateRefs: none can be used; condition ResolvedRefs says why. Requests to backends without a proxy get 503")
	}
	if v.Hostname == "" || len(v.Hostname) > maxServerName {
		return no(gwapiv1.PolicyReasonInvalid, "spec.validation.hostname: must be a DNS name")
	}
	tls.Hostname = string(v.Hostname)
	if len(v.SubjectAltNames) == 0 {
		tls.Names = []model.AltName{{Value: tls.Hostname}}
	}
	for i, n := range v.SubjectAltNames {
		name := model.AltName{URI: n.Type == gwapiv1.URISubjectAltNameType, Value: string(n.Hostname)}
		if name.URI {
			name.Value = string(n.URI)
		}
		if name.Value == "" || !name.URI && n.Type != gwapiv1.HostnameSubjectAltNameType {
			return no(gwapiv1.PolicyReasonInvalid, "spec.validation.subjectAltNames[%d]: needs type Hostname and a hostname, or type URI and a uri", i)
		}
		tls.Names = append(tls.Names, name)
	}
	return tls, finding{true, string(gwapiv1.PolicyReasonAccepted), "The policy is accepted"}, refs
}
