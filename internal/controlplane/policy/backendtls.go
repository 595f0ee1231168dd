// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package policy

import (
	"cmp"
	"fmt"
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
)

const kindBackendTLS = "BackendTLSPolicy"

func backendTLSKind() Kind {
	return Kind{kindBackendTLS, func(o any) *Policy { return fromBackendTLS(o.(*gwapiv1.BackendTLSPolicy)) }}
}

// backendTLS is the spec of a policy for TLS to backends.
type backendTLS struct {
	tls model.BackendTLS // as far as the policy alone says
	// authorities are the references to certificates of authorities.
	authorities []gatewayapi.CARef
	// invalid is what keeps the policy from being carried out whatever it refers to; "": nothing does.
	invalid string
	// unfit is the same for what is looked at only where authorities can be used.
	unfit string
}

// maxServerName is the longest server name that Envoy takes; DNS ends before.
const maxServerName = 253

func fromBackendTLS(in *gwapiv1.BackendTLSPolicy) *Policy {
	s := &backendTLS{}
	p := newPolicy(&in.ObjectMeta, s)
	for i, ref := range in.Spec.TargetRefs {
		p.target(i, ref)
	}
	v := in.Spec.Validation
	for i, ref := range v.CACertificateRefs {
		field := fmt.Sprintf("spec.validation.caCertificateRefs[%d]", i)
		s.authorities = append(s.authorities, gatewayapi.NewCARef(field, ref.Group, ref.Kind, in.Namespace, ref.Name))
	}
	wellKnown := ""
	if v.WellKnownCACertificates != nil && len(v.CACertificateRefs) == 0 {
		wellKnown = string(*v.WellKnownCACertificates)
	}
	s.tls.System = wellKnown != ""
	switch {
	case len(in.Spec.TargetRefs) > 1:
		s.invalid = "spec.targetRefs: only one target is supported; write a policy for each"
	case len(in.Spec.Options) > 0:
		s.invalid = "spec.options: none is supported"
	case wellKnown != "" && wellKnown != string(gwapiv1.WellKnownCACertificatesSystem):
		s.invalid = fmt.Sprintf("spec.validation.wellKnownCACertificates: %q is not supported, only System", wellKnown)
	}
	if v.Hostname == "" || len(v.Hostname) > maxServerName {
		s.unfit = "spec.validation.hostname: must be a DNS name"
		return p
	}
	s.tls.Hostname = string(v.Hostname)
	if len(v.SubjectAltNames) == 0 {
		s.tls.Names = []model.AltName{{Value: s.tls.Hostname}}
	}
	for i, n := range v.SubjectAltNames {
		name := model.AltName{URI: n.Type == gwapiv1.URISubjectAltNameType, Value: string(n.Hostname)}
		if name.URI {
			name.Value = string(n.URI)
		}
		if name.Value == "" || !name.URI && n.Type != gwapiv1.HostnameSubjectAltNameType {
			s.unfit = fmt.Sprintf("spec.validation.subjectAltNames[%d]: needs type Hostname and a hostname, or type URI and a uri", i)
			return p
		}
		s.tls.Names = append(s.tls.Names, name)
	}
	return p
}

// resolve is judge, and returns what the policy makes of TLS.
func (s *backendTLS) resolve(l Lookup) (tls model.BackendTLS, accepted gatewayapi.Finding, refs []gatewayapi.Problem) {
	no := func(reason gwapiv1.PolicyConditionReason, message string) (model.BackendTLS, gatewayapi.Finding, []gatewayapi.Problem) {
		return model.BackendTLS{Unusable: true}, gatewayapi.Finding{Reason: string(reason), Message: message}, refs
	}
	tls = s.tls
	for _, a := range s.authorities {
		if why := a.Unusable(l, string(gwapiv1.BackendTLSPolicyReasonInvalidKind)); why != nil {
			refs = append(refs, *why)
			continue
		}
		tls.Authorities = append(tls.Authorities, a.At)
	}
	switch {
	case s.invalid != "":
		return no(gwapiv1.PolicyReasonInvalid, s.invalid)
	case !tls.System && len(tls.Authorities) == 0:
		return no(gwapiv1.BackendTLSPolicyReasonNoValidCACertificate, "spec.validation.caCertificateRefs: none can be used; condition ResolvedRefs says why. Requests to backends without a proxy get 503")
	case s.unfit != "":
		return no(gwapiv1.PolicyReasonInvalid, s.unfit)
	}
	return tls, gatewayapi.Finding{OK: true, Reason: string(gwapiv1.PolicyReasonAccepted), Message: "The policy is accepted"}, refs
}

func (s *backendTLS) judge(l Lookup) (accepted gatewayapi.Finding, refs []gatewayapi.Problem) {
	_, accepted, refs = s.resolve(l)
	return accepted, refs
}

func (s *backendTLS) references() gatewayapi.References {
	return gatewayapi.CAReferences(s.authorities)
}

// ancestors are the targets where proxies reach them, since the sidecars of all clients obey the policy, and the
// Gateways whose routes send to them.
func (s *backendTLS) ancestors(l Lookup, p *Policy) []model.Object {
	var out, gateways []model.Object
	for _, t := range p.Targets() {
		key := model.Key{Namespace: t.To.Namespace, Name: t.To.Name}
		for _, k := range l.SendingGateways(key) {
			gw := model.Object{Kind: gatewayapi.KindGateway, Namespace: k.Namespace, Name: k.Name}
			if !slices.Contains(gateways, gw) {
				gateways = append(gateways, gw)
			}
		}
		// A Service that does not exist is reported where it would be in the mesh by its namespace.
		if ns, known := l.Namespace(key.Namespace); known && (ns.Meshed || l.Fronted(key)) {
			out = append(out, t.To)
		}
	}
	slices.SortFunc(gateways, func(a, b model.Object) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return append(out, gateways...)
}

// BackendTLS is how a proxy speaks TLS with the endpoints of a Service port that have no proxy, by the policy in
// effect on the port, and what is spoken inside it; nil where there is no policy. A policy that can't be carried out
// is in effect all the same: nothing may be sent then.
func BackendTLS(l Lookup, port model.PortKey) (*model.BackendTLS, model.Protocol) {
	sp, ok := gatewayapi.ServicePort(l, port)
	if !ok || sp.Protocol == model.UDP {
		return nil, ""
	}
	p := onPort(l, port.Service, sp.Name)
	if p == nil {
		return nil, ""
	}
	tls, _, _ := p.spec.(*backendTLS).resolve(l)
	return &tls, gatewayapi.ProtocolInTLS(l, port, sp)
}

// HasBackendTLS reports whether a policy is in effect on the TCP port of that name, whether it can be carried out or
// not; gatewayapi.Lookup.BackendTLS is made from it.
func HasBackendTLS(l Lookup, service model.Key, port string) bool {
	return onPort(l, service, port) != nil
}

func onPort(l Lookup, service model.Key, port string) *Policy {
	return effective(l, kindBackendTLS, model.Object{Kind: gatewayapi.KindService, Namespace: service.Namespace, Name: service.Name}, port)
}
