// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	rbacfilterv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
)

// pathGuard is where routes are.
func pathGuard() httpFilter {
	return httpFilter{name: "envoy.filters.http.rbac", in: []place{outbound, edge}, config: denyDotSegments}
}

// denyDotSegments refuses, with 403, a path whose normal form still has a dot segment with a parameter: of
// /x/..;p/admin Envoy makes /admin, but of /x/%2e%2e;p/admin only /x/..;p/admin. No rule for /admin
// would take that, and the server's proxy, which makes the normal form once more, or an application
// that leaves parameters out would make it /admin after all.
func denyDotSegments() proto.Message {
	var dots []*rbacv3.Permission
	for _, segment := range []string{"/.;", "/..;"} {
		dots = append(dots, &rbacv3.Permission{Rule: &rbacv3.Permission_UrlPath{UrlPath: &matcherv3.PathMatcher{
			Rule: &matcherv3.PathMatcher_Path{Path: &matcherv3.StringMatcher{
				MatchPattern: &matcherv3.StringMatcher_Contains{Contains: segment},
			}},
		}}})
	}
	return &rbacfilterv3.RBAC{Rules: &rbacv3.RBAC{
		Action: rbacv3.RBAC_DENY,
		Policies: map[string]*rbacv3.Policy{"dots": {
			Permissions: dots, // one of them is enough
			Principals:  []*rbacv3.Principal{{Identifier: &rbacv3.Principal_Any{Any: true}}},
		}},
	}}
}
