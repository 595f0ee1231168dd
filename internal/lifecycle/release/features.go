// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import "slices"

// The features of the Gateway API that work, by their names in
// sigs.k8s.io/gateway-api/pkg/features. This is the one place: a feature is added here, to the release
// being made, in the commit that makes its conformance tests pass, and not before. What an earlier
// release has does not change any more.

// routes01 are 0.1's features of routes, whatever their parent.
func routes01() []string {
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

func gatewayFeatures01() []string { return sorted(append(routes01(), "Gateway", "GatewayPort8080")) }

func meshFeatures01() []string { return sorted(append(routes01(), "Mesh")) }

// gatewayFeatures02 are 0.1's and more.
func gatewayFeatures02() []string {
	return sorted(append(
		gatewayFeatures01(),
		"BackendTLSPolicy",
		"BackendTLSPolicySANValidation",
		"GatewayBackendClientCertificate",
		"GatewayFrontendClientCertificateValidation",
		"GatewayFrontendClientCertificateValidationInsecureFallback",
	))
}

func meshFeatures02() []string { return meshFeatures01() }

// sorted because the Gateway API asks for ascending order by name.
func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
