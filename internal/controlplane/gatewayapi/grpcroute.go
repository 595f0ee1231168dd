// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// fromGRPC reads a GRPCRoute.
func fromGRPC(g *gwapiv1.GRPCRoute) *Route {
	r := newRoute(&g.ObjectMeta, &g.Spec.CommonRouteSpec, g.Spec.Hostnames)
	var x expressions
	for i := range g.Spec.Rules {
		r.rules = append(r.rules, grpcRule(fmt.Sprintf("spec.rules[%d]", i), &g.Spec.Rules[i], &x))
	}
	return r
}

func grpcRule(field string, in *gwapiv1.GRPCRouteRule, x *expressions) rule {
	u := rule{name: string(or(in.Name, "")), field: field}
	for i := range in.Matches {
		u.grpcMatch(fmt.Sprintf("%s.matches[%d]", field, i), &in.Matches[i], x)
	}
	if len(in.Matches) == 0 {
		u.matches = []match{{Match: model.Match{GRPC: true}}}
	}
	var fs []filter
	for i, f := range in.Filters {
		fs = append(fs, grpcFilter(fmt.Sprintf("%s.filters[%d]", field, i), f))
	}
	u.filters(fs)
	for i := range in.BackendRefs {
		b := u.backend(fmt.Sprintf("%s.backendRefs[%d]", field, i), in.BackendRefs[i].BackendRef)
		fs = nil
		for j, f := range in.BackendRefs[i].Filters {
			fs = append(fs, grpcFilter(fmt.Sprintf("%s.filters[%d]", b.field, j), f))
		}
		u.backendFilters(&b, fs)
		u.backends = append(u.backends, b)
	}
	if in.SessionPersistence != nil { //nolint:staticcheck // deprecated since v1.7, and a user who wrote it is answered
		u.refuse(unsupported(field+".sessionPersistence", "is not supported"))
	}
	return u
}

func (u *rule) grpcMatch(field string, in *gwapiv1.GRPCRouteMatch, x *expressions) {
	m := match{Match: model.Match{GRPC: true}}
	before := x.sizes
	good := u.grpcMethod(field+".method", in.Method, &m, x)
	hs := make([]valueMatch, 0, len(in.Headers))
	for i, h := range in.Headers {
		hs = append(hs, valueMatch{fmt.Sprintf("%s.headers[%d]", field, i), string(or(h.Type, "")), strings.ToLower(string(h.Name)), h.Value})
	}
	var ok bool
	m.Headers, ok = u.values(hs, x)
	m.regexSize = x.sizes - before
	if m.Path.Kind == model.PathRegex {
		m.regexSize += methodSize + len(or(in.Method.Method, "")) // the latter where it is no expression
	}
	m.rank[2] = len(m.Headers)
	if good && ok {
		u.matches = append(u.matches, m)
	}
}

// methodSize is the size of what grpcMethod puts around the expressions for a service and a method.
const methodSize = 16

// grpcMethod turns a method match into a path match: a call's path is /SERVICE/METHOD (gRPC over
// HTTP/2). The longer service, then the longer method is tried first.
func (u *rule) grpcMethod(field string, in *gwapiv1.GRPCMethodMatch, m *match, x *expressions) bool {
	if in == nil {
		return true
	}
	service, method := or(in.Service, ""), or(in.Method, "")
	m.rank[0], m.rank[1] = len(service), len(method)
	wrong := checkName
	kind := or(in.Type, gwapiv1.GRPCMethodMatchExact)
	switch kind {
	case gwapiv1.GRPCMethodMatchExact:
		m.Path = exactMethod(service, method)
	case gwapiv1.GRPCMethodMatchRegularExpression:
		wrong = func(expr string) string {
			_, wrong := x.check(expr)
			return wrong
		}
		m.Path = model.PathMatch{Kind: model.PathRegex, Value: "/" + expression(service) + "/" + expression(method)}
	default:
		u.refuse(unsupported(field+".type", "%q is not supported", kind))
		return false
	}
	good := true
	for _, p := range []struct{ field, value string }{{".service", service}, {".method", method}} {
		if p.value == "" {
			continue
		}
		if w := wrong(p.value); w != "" {
			u.refuse(unsupported(field+p.field, "%s", w))
			good = false
		}
	}
	return good
}

func exactMethod(service, method string) model.PathMatch {
	switch {
	case service == "" && method == "":
		return model.PathMatch{}
	case method == "":
		return model.PathMatch{Kind: model.PathPrefix, Value: "/" + service}
	case service == "":
		return model.PathMatch{Kind: model.PathRegex, Value: "/" + expression("") + "/" + method}
	}
	return model.PathMatch{Kind: model.PathExact, Value: "/" + service + "/" + method}
}

// expression keeps alternatives of one part from reaching into the other; an empty part is any name.
func expression(e string) string {
	if e == "" {
		return "[^/]+"
	}
	return "(?:" + e + ")"
}

// checkName refuses what can't be a gRPC service or method.
func checkName(s string) string {
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '.':
		default:
			return "may hold only letters, digits, dots and underscores"
		}
	}
	return ""
}
