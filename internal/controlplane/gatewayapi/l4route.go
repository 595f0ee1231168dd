// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// l4Rule is all that a rule of an opaque route has.
type l4Rule struct {
	name     *gwapiv1.SectionName
	backends []gwapiv1.BackendRef
}

// l4Route reads an opaque route. It has one rule, as there is nothing in a rule by which a second could be told
// from it; the CRDs hold to that.
func l4Route[R any](meta *metav1.ObjectMeta, spec *gwapiv1.CommonRouteSpec, hostnames []gwapiv1.Hostname, rules []R, of func(R) l4Rule) *Route {
	r := newRoute(meta, spec, hostnames)
	for i := range rules {
		in := of(rules[i])
		u := rule{name: string(or(in.name, "")), field: fmt.Sprintf("spec.rules[%d]", i)}
		if i > 0 {
			u.refuse(unsupported(u.field, "there can be only one rule"))
		}
		for j, ref := range in.backends {
			u.backends = append(u.backends, u.backend(fmt.Sprintf("%s.backendRefs[%d]", u.field, j), ref))
		}
		r.rules = append(r.rules, u)
	}
	return r
}

// hasUDP reports whether a Service has a UDP port of that number.
func hasUDP(svc model.Service, port uint16) bool {
	for _, p := range svc.Ports {
		if p.Port == port && p.Protocol == model.UDP {
			return true
		}
	}
	return false
}
