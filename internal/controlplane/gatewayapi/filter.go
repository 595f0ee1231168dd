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

// filter is a filter of an HTTPRoute or a GRPCRoute: their types spell the same.
type filter struct {
	field    string // "spec.rules[0].filters[1]"
	kind     gwapiv1.HTTPRouteFilterType
	request  *gwapiv1.HTTPHeaderFilter
	response *gwapiv1.HTTPHeaderFilter
	mirror   *gwapiv1.HTTPRequestMirrorFilter
	redirect *gwapiv1.HTTPRequestRedirectFilter
	rewrite  *gwapiv1.HTTPURLRewriteFilter
	cors     *gwapiv1.HTTPCORSFilter
}

func httpFilter(field string, f gwapiv1.HTTPRouteFilter) filter {
	return filter{field, f.Type, f.RequestHeaderModifier, f.ResponseHeaderModifier, f.RequestMirror, f.RequestRedirect, f.URLRewrite, f.CORS}
}

func grpcFilter(field string, f gwapiv1.GRPCRouteFilter) filter {
	return filter{field, gwapiv1.HTTPRouteFilterType(f.Type), f.RequestHeaderModifier, f.ResponseHeaderModifier, f.RequestMirror, nil, nil, nil}
}

// filters reads the filters of a rule into it.
func (u *rule) filters(fs []filter) {
	seen := map[gwapiv1.HTTPRouteFilterType]bool{}
	for _, f := range fs {
		if seen[f.kind] && f.kind != gwapiv1.HTTPRouteFilterRequestMirror {
			u.refuse(problemf(gwapiv1.RouteReasonIncompatibleFilters, f.field, "%s may stand only once in a rule", f.kind))
			continue
		}
		seen[f.kind] = true
		switch {
		case f.kind == gwapiv1.HTTPRouteFilterRequestHeaderModifier && f.request != nil:
			u.requestHeaders = u.headers(f.field+".requestHeaderModifier", f.request)
		case f.kind == gwapiv1.HTTPRouteFilterResponseHeaderModifier && f.response != nil:
			u.responseHeaders = u.headers(f.field+".responseHeaderModifier", f.response)
		case f.kind == gwapiv1.HTTPRouteFilterRequestMirror && f.mirror != nil:
			u.mirror(f.field+".requestMirror", f.mirror)
		case f.kind == gwapiv1.HTTPRouteFilterRequestRedirect && f.redirect != nil:
			u.redirectTo(f.field+".requestRedirect", f.redirect)
		case f.kind == gwapiv1.HTTPRouteFilterURLRewrite && f.rewrite != nil:
			u.rewrite = u.rewriteTo(f.field+".urlRewrite", f.rewrite)
		case f.kind == gwapiv1.HTTPRouteFilterCORS && f.cors != nil:
			u.allowOrigins(f.field+".cors", f.cors)
		default:
			u.refuse(unknownFilter(f))
		}
	}
	if u.redirect != nil && u.rewrite != nil {
		u.refuse(problemf(gwapiv1.RouteReasonIncompatibleFilters, u.field+".filters", "RequestRedirect and URLRewrite exclude each other"))
	}
	if u.redirect != nil && u.cors != nil {
		// A redirection is answered before the proxy looks at origins, and a browser refuses it then.
		u.refuse(problemf(gwapiv1.RouteReasonIncompatibleFilters, u.field+".filters", "RequestRedirect and CORS exclude each other"))
	}
}

// backendFilters reads the filters of a backendRef.
func (u *rule) backendFilters(b *backend, fs []filter) {
	seen := map[gwapiv1.HTTPRouteFilterType]bool{}
	for _, f := range fs {
		if seen[f.kind] {
			u.refuse(problemf(gwapiv1.RouteReasonIncompatibleFilters, f.field, "%s may stand only once in a backendRef", f.kind))
			continue
		}
		seen[f.kind] = true
		switch {
		case f.kind == gwapiv1.HTTPRouteFilterRequestHeaderModifier && f.request != nil:
			b.requestHeaders = u.headers(f.field+".requestHeaderModifier", f.request)
		case f.kind == gwapiv1.HTTPRouteFilterResponseHeaderModifier && f.response != nil:
			b.responseHeaders = u.headers(f.field+".responseHeaderModifier", f.response)
		case f.kind == gwapiv1.HTTPRouteFilterURLRewrite && f.rewrite != nil:
			b.rewrite = u.rewriteTo(f.field+".urlRewrite", f.rewrite)
		default:
			u.refuse(unknownFilter(f))
		}
	}
}

func (u *rule) refuse(ps ...Problem) { u.problems = append(u.problems, ps...) }

// unknownFilter: Gateway API forbids to skip a filter that can't be carried out.
func unknownFilter(f filter) Problem {
	switch f.kind {
	case gwapiv1.HTTPRouteFilterRequestHeaderModifier, gwapiv1.HTTPRouteFilterResponseHeaderModifier, gwapiv1.HTTPRouteFilterRequestMirror,
		gwapiv1.HTTPRouteFilterRequestRedirect, gwapiv1.HTTPRouteFilterURLRewrite, gwapiv1.HTTPRouteFilterCORS:
		if strings.Contains(f.field, ".backendRefs[") {
			return unsupported(f.field+".type", "%s is not supported in a backendRef: move it to the rule", f.kind)
		}
		return unsupported(f.field, "the filter of type %s is missing", f.kind)
	}
	return unsupported(f.field+".type", "%s is not supported", f.kind)
}

// headers reads a header filter. Names are in lower case, as HTTP/2 has them.
func (u *rule) headers(field string, f *gwapiv1.HTTPHeaderFilter) model.HeaderMods {
	var m model.HeaderMods
	one := func(list string, i int, h gwapiv1.HTTPHeader) model.Header {
		at := fmt.Sprintf("%s.%s[%d]", field, list, i)
		u.headerName(at+".name", string(h.Name))
		if w := checkText(h.Value); w != "" {
			u.refuse(unsupported(at+".value", "%s", w))
		}
		return model.Header{Name: strings.ToLower(string(h.Name)), Value: h.Value}
	}
	for i, h := range f.Set {
		m.Set = append(m.Set, one("set", i, h))
	}
	for i, h := range f.Add {
		m.Add = append(m.Add, one("add", i, h))
	}
	for i, n := range f.Remove {
		u.headerName(fmt.Sprintf("%s.remove[%d]", field, i), n)
		m.Remove = append(m.Remove, strings.ToLower(n))
	}
	return m
}

// headerName refuses names the proxy would refuse the whole table for.
func (u *rule) headerName(field, name string) {
	switch {
	case strings.EqualFold(name, "host"):
		u.refuse(unsupported(field, "Host can't be changed by a header filter: use URLRewrite.hostname"))
	case name == "" || strings.HasPrefix(name, ":") || strings.ContainsFunc(name, notToken):
		u.refuse(unsupported(field, "%q is not a header name", name))
	}
}

// notToken is false for the characters of a token (RFC 9110, 5.6.2).
func notToken(c rune) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return false
	}
	return !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
}

// mirror reads a mirror filter; a share of nothing is left out once its reference is known to be good.
func (u *rule) mirror(field string, f *gwapiv1.HTTPRequestMirrorFilter) {
	m := mirror{field: field + ".backendRef", ref: f.BackendRef, numerator: 100, denominator: 100}
	switch {
	case f.Percent != nil && f.Fraction != nil:
		u.refuse(unsupported(field, "set percent or fraction, not both"))
		return
	case f.Percent != nil:
		if *f.Percent < 0 || *f.Percent > 100 {
			u.refuse(unsupported(field+".percent", "must be from 0 to 100"))
			return
		}
		m.numerator = uint32(*f.Percent)
	case f.Fraction != nil:
		d := or(f.Fraction.Denominator, 100)
		if f.Fraction.Numerator < 0 || d < 1 || f.Fraction.Numerator > d {
			u.refuse(unsupported(field+".fraction", "must be from 0 to 1"))
			return
		}
		m.numerator, m.denominator = uint32(f.Fraction.Numerator), uint32(d)
	}
	u.mirrors = append(u.mirrors, m)
}

func (u *rule) redirectTo(field string, f *gwapiv1.HTTPRequestRedirectFilter) {
	r := &model.Redirect{Scheme: or(f.Scheme, ""), Hostname: string(or(f.Hostname, "")), StatusCode: or(f.StatusCode, 302)}
	if r.Scheme != "" && r.Scheme != "http" && r.Scheme != "https" {
		u.refuse(unsupported(field+".scheme", "%q is not supported, only http and https", r.Scheme))
	}
	if p := or(f.Port, 0); f.Port != nil {
		if p < 1 || p > 65535 {
			u.refuse(unsupported(field+".port", "must be from 1 to 65535"))
		}
		r.Port = uint16(p)
	}
	if !slices.Contains([]int{301, 302, 303, 307, 308}, r.StatusCode) {
		u.refuse(unsupported(field+".statusCode", "%d is not supported, only 301, 302, 303, 307 and 308", r.StatusCode))
	}
	if w := checkText(r.Hostname); w != "" {
		u.refuse(unsupported(field+".hostname", "%s", w))
	}
	r.Path = u.path(field+".path", f.Path)
	u.redirect = r
}

func (u *rule) rewriteTo(field string, f *gwapiv1.HTTPURLRewriteFilter) *model.Rewrite {
	r := &model.Rewrite{Hostname: string(or(f.Hostname, ""))}
	if w := checkText(r.Hostname); w != "" {
		u.refuse(unsupported(field+".hostname", "%s", w))
	}
	r.Path = u.path(field+".path", f.Path)
	return r
}

// path reads a path modifier. A replacement begins with "/" and ends with one only where it is "/"
// alone: by the table in Gateway API's HTTPPathModifier a trailing one never counts.
func (u *rule) path(field string, m *gwapiv1.HTTPPathModifier) *model.PathRewrite {
	if m == nil {
		return nil
	}
	var out *model.PathRewrite
	switch {
	case m.Type == gwapiv1.FullPathHTTPPathModifier && m.ReplaceFullPath != nil:
		out = &model.PathRewrite{Full: true, Replacement: *m.ReplaceFullPath}
		if out.Replacement == "" {
			out.Replacement = "/"
		}
		field += ".replaceFullPath"
	case m.Type == gwapiv1.PrefixMatchHTTPPathModifier && m.ReplacePrefixMatch != nil:
		out = &model.PathRewrite{Replacement: "/" + strings.Trim(*m.ReplacePrefixMatch, "/")}
		field += ".replacePrefixMatch"
		if len(u.matches) == 0 {
			return nil // the match itself was refused
		}
		if w := u.onePrefix(); w != "" {
			u.refuse(unsupported(field, "%s", w))
			return nil
		}
		out.Prefix = u.matches[0].Path.Value
		if out.Prefix == "" {
			out.Prefix = "/"
		}
	default:
		u.refuse(unsupported(field+".type", "%s is not supported or lacks its value", m.Type))
		return nil
	}
	if w := checkPath(out.Replacement); w != "" {
		u.refuse(unsupported(field, "%s", w))
	}
	return out
}

// onePrefix tells why the rule has no prefix that could be replaced.
func (u *rule) onePrefix() string {
	if len(u.matches) != 1 || u.matches[0].Path.Kind != "" && u.matches[0].Path.Kind != model.PathPrefix {
		return "needs a rule with exactly one match, of a path of type PathPrefix"
	}
	return ""
}
