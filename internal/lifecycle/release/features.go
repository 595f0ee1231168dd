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

// routes02 are those of 0.2, whatever their parent.
func routes02() []string {
	return append(
		routes01(),
		"GRPCRouteNamedRouteRule",
		"HTTPRoute303RedirectStatusCode",
		"HTTPRoute307RedirectStatusCode",
		"HTTPRoute308RedirectStatusCode",
		"HTTPRouteBackendProtocolH2C",
		"HTTPRouteBackendProtocolWebSocket",
		"HTTPRouteCORS",
		"HTTPRouteDestinationPortMatching",
		"HTTPRouteNamedRouteRule",
		"HTTPRouteParentRefPort",
		"HTTPRouteRequestMultipleMirrors",
		"HTTPRouteRequestPercentageMirror",
		"HTTPRouteRetry",
		"HTTPRouteRetryBackendTimeout",
	)
}

// streams02 are 0.2's features of routes that pass bytes on. The Gateway API has no names for them on Services.
func streams02() []string {
	return []string{"TCPRoute", "TLSRoute", "TLSRouteModeMixed", "TLSRouteModeTerminate", "UDPRoute"}
}

func gatewayFeatures02() []string {
	return sorted(append(
		slices.Concat(routes02(), streams02()),
		"BackendTLSPolicy",
		"BackendTLSPolicySANValidation",
		"Gateway",
		"GatewayAddressEmpty",
		"GatewayBackendClientCertificate",
		"GatewayFrontendClientCertificateValidation",
		"GatewayFrontendClientCertificateValidationInsecureFallback",
		"GatewayHTTPListenerIsolation",
		"GatewayHTTPSListenerDetectMisdirectedRequests",
		"GatewayInfrastructure",
		"GatewayPort8080",
		"GatewayStaticAddresses",
		"HTTPRouteRetryConnectionError",
		"ListenerSet",
	))
}

func meshFeatures02() []string {
	return sorted(append(
		routes02(),
		"Mesh",
		"MeshClusterIPMatching",
		"MeshConsumerRoute",
		"MeshHTTPRouteBackendRequestHeaderModification",
		"MeshHTTPRouteNamedRouteRule",
		"MeshHTTPRouteQueryParamMatching",
		"MeshHTTPRouteRedirectPath",
		"MeshHTTPRouteRedirectPort",
		"MeshHTTPRouteRewritePath",
		"MeshHTTPRouteSchemeRedirect",
	))
}

// sorted because the Gateway API asks for ascending order by name.
func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
