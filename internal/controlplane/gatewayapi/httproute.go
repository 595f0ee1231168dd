// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"slices"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// fromHTTP reads an HTTPRoute.
func fromHTTP(h *gwapiv1.HTTPRoute) *Route {
	r := newRoute(&h.ObjectMeta, &h.Spec.CommonRouteSpec, h.Spec.Hostnames)
	var x expressions
	for i := range h.Spec.Rules {
		r.rules = append(r.rules, httpRule(fmt.Sprintf("spec.rules[%d]", i), &h.Spec.Rules[i], &x))
	}
	return r
}

func httpRule(field string, in *gwapiv1.HTTPRouteRule, x *expressions) rule {
	u := rule{name: string(or(in.Name, "")), field: field}
	for i := range in.Matches {
		u.httpMatch(fmt.Sprintf("%s.matches[%d]", field, i), &in.Matches[i], x)
	}
	if len(in.Matches) == 0 {
		u.matches = []match{{}}
	}
	var fs []filter
	for i, f := range in.Filters {
		fs = append(fs, httpFilter(fmt.Sprintf("%s.filters[%d]", field, i), f))
	}
	u.filters(fs)
	for i := range in.BackendRefs {
		b := u.backend(fmt.Sprintf("%s.backendRefs[%d]", field, i), in.BackendRefs[i].BackendRef)
		fs = nil
		for j, f := range in.BackendRefs[i].Filters {
			fs = append(fs, httpFilter(fmt.Sprintf("%s.filters[%d]", b.field, j), f))
		}
		u.backendFilters(&b, fs)
		u.backends = append(u.backends, b)
	}
	if u.redirect != nil && len(u.backends) > 0 {
		u.refuse(problemf(gwapiv1.RouteReasonIncompatibleFilters, field, "RequestRedirect and backendRefs exclude each other"))
	}
	u.httpTimeouts(in)
	u.httpRetry(in.Retry)
	if in.SessionPersistence != nil { //nolint:staticcheck // deprecated since v1.7, and a user who wrote it is answered
		u.refuse(unsupported(field+".sessionPersistence", "is not supported"))
	}
	return u
}

func (u *rule) backend(field string, ref gwapiv1.BackendRef) backend {
	w := or(ref.Weight, 1)
	if w < 0 || w > 1_000_000 {
		u.refuse(unsupported(field+".weight", "must be from 0 to 1000000"))
		w = 0
	}
	return backend{field: field, ref: ref.BackendObjectReference, weight: uint32(w)}
}

// Ranks of path kinds. Gateway API leaves the place of regular expressions open: they stand between
// exact paths, which are more precise, and prefixes, of which "/" would hide them all.
const (
	rankPrefix = iota
	rankRegex
	rankExact
)

func (u *rule) httpMatch(field string, in *gwapiv1.HTTPRouteMatch, x *expressions) {
	var m match
	before := x.sizes
	good := u.httpPath(field+".path", in.Path, &m, x)
	if in.Method != nil {
		m.Method, m.rank[2] = string(*in.Method), 1
		if ps := unroutable(field+".method", *in.Method); len(ps) > 0 {
			u.refuse(ps...)
			good = false
		}
	}
	hs := make([]valueMatch, 0, len(in.Headers))
	for i, h := range in.Headers {
		hs = append(hs, valueMatch{fmt.Sprintf("%s.headers[%d]", field, i), string(or(h.Type, "")), strings.ToLower(string(h.Name)), h.Value})
	}
	qs := make([]valueMatch, 0, len(in.QueryParams))
	for i, q := range in.QueryParams {
		qs = append(qs, valueMatch{fmt.Sprintf("%s.queryParams[%d]", field, i), string(or(q.Type, "")), string(q.Name), q.Value})
	}
	var ok bool
	m.Headers, ok = u.values(hs, x)
	good = good && ok
	m.Query, ok = u.values(qs, x)
	good = good && ok
	m.regexSize = x.sizes - before
	m.rank[3], m.rank[4] = len(m.Headers), len(m.Query)
	if good {
		u.matches = append(u.matches, m)
	}
}

// unroutable tells why no route can match a method. Proxies pass no CONNECT request on.
func unroutable(field string, m gwapiv1.HTTPMethod) []Problem {
	switch {
	case m == gwapiv1.HTTPMethodConnect:
		return []Problem{unsupported(field, "CONNECT is not supported, because proxies cannot read what a tunnel carries: "+
			"carry the port as bytes instead (appProtocol: tcp on the Service's port, a TCPRoute at a Gateway)")}
	case !slices.Contains(methods(), m):
		return []Problem{unsupported(field, "%q is not supported", m)}
	}
	return nil
}

func methods() []gwapiv1.HTTPMethod {
	return []gwapiv1.HTTPMethod{
		gwapiv1.HTTPMethodGet, gwapiv1.HTTPMethodHead, gwapiv1.HTTPMethodPost, gwapiv1.HTTPMethodPut, gwapiv1.HTTPMethodDelete,
		gwapiv1.HTTPMethodOptions, gwapiv1.HTTPMethodTrace, gwapiv1.HTTPMethodPatch,
	}
}

// httpPath reads a path match, in normal form like the requests that it is compared with. A trailing
// slash of a prefix is ignored, as Gateway API says; the prefix "/" is the zero value.
func (u *rule) httpPath(field string, in *gwapiv1.HTTPPathMatch, m *match, x *expressions) bool {
	if in == nil {
		return true
	}
	kind, value := or(in.Type, gwapiv1.PathMatchPathPrefix), or(in.Value, "/")
	wrong := ""
	switch kind {
	case gwapiv1.PathMatchExact:
		value = normalPath(value)
		wrong = checkMatch(value)
		m.Path = model.PathMatch{Kind: model.PathExact, Value: value}
		m.rank[0] = rankExact
	case gwapiv1.PathMatchPathPrefix:
		value = normalPath(value)
		wrong = checkMatch(value)
		if value = strings.TrimRight(value, "/"); value != "" {
			m.Path = model.PathMatch{Kind: model.PathPrefix, Value: value}
		}
		m.rank[0] = rankPrefix
	case gwapiv1.PathMatchRegularExpression:
		_, wrong = x.check(value)
		m.Path = model.PathMatch{Kind: model.PathRegex, Value: value}
		m.rank[0] = rankRegex
	default:
		u.refuse(unsupported(field+".type", "%q is not supported", kind))
		return false
	}
	if wrong != "" {
		u.refuse(unsupported(field+".value", "%s", wrong))
		return false
	}
	m.rank[1] = len(value)
	return true
}

// valueMatch is a header or query match; of several with the same name the first counts.
type valueMatch struct{ field, kind, name, value string }

func (u *rule) values(in []valueMatch, x *expressions) (out []model.ValueMatch, good bool) {
	good = true
	for _, v := range in {
		if slices.ContainsFunc(out, func(o model.ValueMatch) bool { return o.Name == v.name }) {
			continue
		}
		wrong := ""
		switch v.kind {
		case "", string(gwapiv1.HeaderMatchExact):
			wrong = checkText(v.value)
		case string(gwapiv1.HeaderMatchRegularExpression):
			_, wrong = x.check(v.value)
		default:
			u.refuse(unsupported(v.field+".type", "%q is not supported", v.kind))
			good = false
			continue
		}
		if wrong != "" {
			u.refuse(unsupported(v.field+".value", "%s", wrong))
			good = false
			continue
		}
		out = append(out, model.ValueMatch{Name: v.name, Value: v.value, Regex: v.kind == string(gwapiv1.HeaderMatchRegularExpression)})
	}
	return out, good
}

func (u *rule) httpTimeouts(in *gwapiv1.HTTPRouteRule) {
	if in.Timeouts == nil {
		return
	}
	field := u.field + ".timeouts"
	var ps []Problem
	u.timeout, ps = duration(in.Timeouts.Request, field+".request")
	u.refuse(ps...)
	u.backendTimeout, ps = duration(in.Timeouts.BackendRequest, field+".backendRequest")
	u.refuse(ps...)
	u.endless = in.Timeouts.Request != nil && u.timeout == 0
	if u.timeout > 0 && u.backendTimeout > u.timeout {
		u.refuse(unsupported(field+".backendRequest", "must not be longer than timeouts.request"))
	}
}

// httpRetry reads GEP-1731. If attempts is unset, there is one retry; if it is 0, there is none for any
// reason (HTTPRouteRetry.attempts). A rule with retries also retries requests whose connection broke or whose
// backend timeout ended, whether they are safe to repeat or not; docs/concepts/traffic.md says so.
func (u *rule) httpRetry(in *gwapiv1.HTTPRouteRetry) {
	if in == nil {
		return
	}
	field := u.field + ".retry"
	r := &model.Retry{Attempts: 1, Broken: true}
	if in.Attempts != nil {
		if *in.Attempts < 0 || *in.Attempts > 100 {
			u.refuse(unsupported(field+".attempts", "must be from 0 to 100"))
			return
		}
		r.Attempts = uint32(*in.Attempts)
	}
	for i, c := range in.Codes {
		if c < 400 || c > 599 {
			u.refuse(unsupported(fmt.Sprintf("%s.codes[%d]", field, i), "must be from 400 to 599"))
			continue
		}
		r.Codes = append(r.Codes, uint32(c))
	}
	slices.Sort(r.Codes)
	r.Codes = slices.Compact(r.Codes)
	var ps []Problem
	r.Backoff, ps = duration(in.Backoff, field+".backoff")
	u.refuse(ps...)
	u.retry = r
}
