// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// fromTLS reads a TLSRoute.
func fromTLS(t *gwapiv1.TLSRoute) *route {
	r := newRoute(KindTLSRoute, &t.ObjectMeta, &t.Spec.CommonRouteSpec, t.Spec.Hostnames)
	r.read = func() (rules []rule) {
		for i, u := range t.Spec.Rules {
			rules = append(rules, byteRule(i, u.Name, u.BackendRefs))
		}
		return rules
	}
	return r
}

// fromTCP reads a TCPRoute.
func fromTCP(t *gwapiv1.TCPRoute) *route {
	r := newRoute(KindTCPRoute, &t.ObjectMeta, &t.Spec.CommonRouteSpec, nil)
	r.read = func() (rules []rule) {
		for i, u := range t.Spec.Rules {
			rules = append(rules, byteRule(i, u.Name, u.BackendRefs))
		}
		return rules
	}
	return r
}

// fromUDP reads a UDPRoute.
func fromUDP(t *gwapiv1.UDPRoute) *route {
	r := newRoute(KindUDPRoute, &t.ObjectMeta, &t.Spec.CommonRouteSpec, nil)
	r.read = func() (rules []rule) {
		for i, u := range t.Spec.Rules {
			rules = append(rules, byteRule(i, u.Name, u.BackendRefs))
		}
		return rules
	}
	return r
}

// byteRule reads a rule that has nothing but backends. A route of bytes has one rule, as there is
// nothing in a rule by which a second could be told from it; the CRDs hold to that.
func byteRule(i int, name *gwapiv1.SectionName, backends []gwapiv1.BackendRef) rule {
	u := rule{name: string(or(name, "")), field: fmt.Sprintf("spec.rules[%d]", i)}
	if i > 0 {
		u.refuse(unsupported(u.field, "there can be only one rule"))
	}
	for j, ref := range backends {
		u.backends = append(u.backends, u.backend(fmt.Sprintf("%s.backendRefs[%d]", u.field, j), ref))
	}
	return u
}

// bytes tells whether the route passes bytes on without looking for HTTP in them.
func (r *route) bytes() bool {
	return r.source.Kind == KindTLSRoute || r.source.Kind == KindTCPRoute || r.source.Kind == KindUDPRoute
}

// asOf is how a route's backend is spoken to: by a route of bytes as bytes, unless the port says that
// it speaks nothing else. What other routes make of the port has no say, lest they change this one.
func asOf(r *route, p model.ServicePort) string {
	if r.bytes() && !OnlyBytes(p) {
		return names.AsBytes
	}
	return ""
}

// OnlyBytes tells whether a TCP port is declared to speak what no route looks into.
func OnlyBytes(p model.ServicePort) bool { return p.Declared && p.Protocol == model.TCP }

// hasUDP tells whether a Service has a UDP port of that number.
func hasUDP(svc model.Service, port uint16) bool {
	for _, p := range svc.Ports {
		if p.Port == port && p.Protocol == model.UDP {
			return true
		}
	}
	return false
}
