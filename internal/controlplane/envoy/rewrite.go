// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"tulle.dev/tulle/internal/controlplane/model"
)

// rewrite changes the request on its way. A rewritten host name wins over a Host header that is set.
func rewrite(a *routev3.RouteAction, w model.Rewrite) {
	if w.Hostname != "" {
		a.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: w.Hostname}
	}
	if w.Path != nil {
		a.PrefixRewrite, a.RegexRewrite = pathChange(*w.Path)
	}
}

// pathChange says how to change a path: by Envoy's prefix rewrite, by a regular expression, or (both
// empty) not at all. The query stays. Envoy's prefix rewrite replaces text, Gateway API's whole
// segments (HTTPPathModifier has the table), which differ where either side is the root.
func pathChange(p model.PathRewrite) (prefix string, re *matcherv3.RegexMatchAndSubstitute) {
	if p.Full {
		return "", substitute("^.*$", p.Replacement)
	}
	from, to := trimSlash(p.Prefix), trimSlash(p.Replacement)
	switch {
	case from == to:
		return "", nil
	case from == "": // "/" to "/xyz": "/bar" becomes "/xyz/bar"
		return "", substitute("^/", to+"/")
	case to == "": // "/foo" to "/": "/foo" and "/foo/" become "/", "/foo/bar" becomes "/bar"
		return "", substitute("^"+pathPattern(from)+"/?", "/")
	case eitherCase(from): // matched by an expression, of which Envoy would replace all
		return "", substitute("^"+pathPattern(from), to)
	}
	return to, nil
}

func substitute(pattern, replacement string) *matcherv3.RegexMatchAndSubstitute {
	return &matcherv3.RegexMatchAndSubstitute{
		Pattern:      regex(pattern),
		Substitution: strings.ReplaceAll(replacement, `\`, `\\`), // a backslash would name a group
	}
}

// redirect completes the route of a redirection. Gateway API wants the port that belongs to the
// scheme left out of the Location (HTTPRequestRedirectFilter, port). Envoy writes every port it is
// given, and drops the port of the request's Host only if it is given one. So a scheme's own port is
// given only where the client wrote a port: hence two routes.
func redirect(route *routev3.Route, r model.Redirect) []*routev3.Route {
	if r.Hostname != "" || !impliedPort(r.Scheme, r.Port) {
		port := r.Port
		if impliedPort(r.Scheme, port) {
			port = 0 // the host name is given, without a port
		}
		route.Action = redirection(r, port)
		return []*routev3.Route{route}
	}
	written := &routev3.Route{
		Name:                    route.GetName(),
		Match:                   withPort(route.GetMatch()),
		Action:                  redirection(r, r.Port),
		ResponseHeadersToAdd:    route.GetResponseHeadersToAdd(),
		ResponseHeadersToRemove: route.GetResponseHeadersToRemove(),
	}
	route.Action = redirection(r, 0)
	return []*routev3.Route{written, route}
}

// impliedPort tells whether a URL of the scheme needs no mention of the port. Without a scheme it is the
// request's, which belongs to the listener's port.
func impliedPort(scheme string, port uint16) bool {
	return port == 80 && scheme != "https" || port == 443 && scheme != "http"
}

// withPort is the match, for requests alone whose Host has a port.
func withPort(m *routev3.RouteMatch) *routev3.RouteMatch {
	return &routev3.RouteMatch{
		PathSpecifier:   m.GetPathSpecifier(),
		QueryParameters: m.GetQueryParameters(),
		Grpc:            m.GetGrpc(),
		Headers: append(append([]*routev3.HeaderMatcher{}, m.GetHeaders()...),
			headerMatch(authority, &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(`.*:[0-9]+`)},
			})),
	}
}

func redirection(r model.Redirect, port uint16) *routev3.Route_Redirect {
	a := &routev3.RedirectAction{
		HostRedirect: r.Hostname,
		PortRedirect: uint32(port),
		ResponseCode: redirectCode(r.StatusCode),
	}
	if r.Scheme != "" {
		a.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: r.Scheme}
	}
	switch {
	case r.Path == nil:
	case r.Path.Full:
		a.PathRewriteSpecifier = &routev3.RedirectAction_PathRedirect{PathRedirect: r.Path.Replacement}
	default:
		prefix, re := pathChange(*r.Path)
		if re != nil {
			a.PathRewriteSpecifier = &routev3.RedirectAction_RegexRewrite{RegexRewrite: re}
		} else if prefix != "" {
			a.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: prefix}
		}
	}
	return &routev3.Route_Redirect{Redirect: a}
}

// redirectCode translates the status; 0 and what is no redirection is 302, Gateway API's default.
func redirectCode(status int) routev3.RedirectAction_RedirectResponseCode {
	switch status {
	case 301:
		return routev3.RedirectAction_MOVED_PERMANENTLY
	case 303:
		return routev3.RedirectAction_SEE_OTHER
	case 307:
		return routev3.RedirectAction_TEMPORARY_REDIRECT
	case 308:
		return routev3.RedirectAction_PERMANENT_REDIRECT
	}
	return routev3.RedirectAction_FOUND
}
