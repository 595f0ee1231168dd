// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import "slices"

// The features of the Gateway API that work, by their names in
// sigs.k8s.io/gateway-api/pkg/features. This is the one place: a feature is added here in the
// commit that makes its conformance tests pass, and not before.

// common are those of routes, whatever their parent.
func common() []string {
	return []string{
		"GRPCRoute",
		"HTTPRoute",
		"HTTPRouteBackendRequestHeaderModification",
		"HTTPRouteBackendTimeout",
		"HTTPRouteHostRewrite",
		"HTTPRouteMethodMatching",
		"HTTPRoutePathRedirect",
		"HTTPRoutePathRewrite",
		"HTTPRoutePortRedirect",
		"HTTPRouteQueryParamMatching",
		"HTTPRouteRequestMirror",
		"HTTPRouteRequestTimeout",
		"HTTPRouteResponseHeaderModification",
		"HTTPRouteSchemeRedirect",
		"ReferenceGrant",
	}
}

func gatewayFeatures() []string { return sorted(append(common(), "Gateway", "GatewayPort8080")) }

func meshFeatures() []string { return sorted(append(common(), "Mesh")) }

// sorted because the Gateway API asks for ascending order by name.
func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
