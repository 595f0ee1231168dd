// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"tulle.dev/tulle/internal/controlplane/model"
)

func routeMatch(m model.Match) *routev3.RouteMatch {
	rm := pathMatch(m.Path)
	if m.Method != "" {
		rm.Headers = append(rm.Headers, headerMatch(":method", exactly(m.Method)))
	}
	for _, h := range m.Headers {
		rm.Headers = append(rm.Headers, headerMatch(headerName(h.Name), valueMatch(h)))
	}
	for _, q := range m.Query {
		rm.QueryParameters = append(rm.QueryParameters, &routev3.QueryParameterMatcher{
			Name:                         q.Name,
			QueryParameterMatchSpecifier: &routev3.QueryParameterMatcher_StringMatch{StringMatch: valueMatch(q)},
		})
	}
	if m.GRPC {
		rm.Grpc = &routev3.RouteMatch_GrpcRouteMatchOptions{}
	}
	return rm
}

func pathMatch(p model.PathMatch) *routev3.RouteMatch {
	switch p.Kind {
	case model.PathExact:
		if eitherCase(p.Value) {
			return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: regex(pathPattern(p.Value))}}
		}
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Path{Path: p.Value}}
	case model.PathRegex:
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: regex(p.Value)}}
	case model.PathPrefix:
		prefix := trimSlash(p.Value)
		if prefix == "" {
			break
		}
		if eitherCase(prefix) {
			return belowPath(prefix)
		}
		return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: prefix}}
	}
	return anyPath()
}

// belowPath matches a path and what is below it by an expression.
func belowPath(prefix string) *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: regex(pathPattern(prefix) + "(/.*)?")}}
}

// anyPath matches every request that Envoy routes at all ("OPTIONS *" it answers with 404).
func anyPath() *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}}
}

// trimSlash brings a prefix to the form without a trailing slash: "/" becomes "", and "/abc/" means
// the same as "/abc" (Gateway API, PathPrefix).
func trimSlash(prefix string) string { return strings.TrimSuffix(prefix, "/") }

func headerMatch(name string, value *matcherv3.StringMatcher) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name:                 name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: value},
	}
}

// authority is HTTP's Host header by the name that it has inside Envoy.
const authority = ":authority"

func headerName(name string) string {
	if strings.EqualFold(name, "host") {
		return authority
	}
	return strings.ToLower(name)
}

func valueMatch(v model.ValueMatch) *matcherv3.StringMatcher {
	if v.Regex {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(v.Value)}}
	}
	return exactly(v.Value)
}

func exactly(value string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: value}}
}

// regex is RE2 and matches the whole value.
func regex(pattern string) *matcherv3.RegexMatcher { return &matcherv3.RegexMatcher{Regex: pattern} }
