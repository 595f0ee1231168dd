// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import "slices"

// The features of the Gateway API that work, by their names in
// sigs.k8s.io/gateway-api/pkg/features. This is the one place: a feature is added here, to the release
// being made, in the commit that makes its conformance tests pass, and not before. What an earlier
// release has does not change any more.

// routes02 are 0.2's features of routes, whatever their parent.
func routes02() []string {
	return []string{
		"GRPCRoute",
		"GRPCRouteNamedRouteRule",
		"HTTPRoute",
		"HTTPRoute303RedirectStatusCode",
		"HTTPRoute307RedirectStatusCode",
		"HTTPRoute308RedirectStatusCode",
		"HTTPRouteBackendProtocolH2C",
		"HTTPRouteBackendProtocolWebSocket",
		"HTTPRouteBackendRequestHeaderModification",
		"HTTPRouteBackendTimeout",
		"HTTPRouteCORS",
		"HTTPRouteDestinationPortMatching",
		"HTTPRouteHostRewrite",
		"HTTPRouteMethodMatching",
		"HTTPRouteNamedRouteRule",
		"HTTPRouteParentRefPort",
		"HTTPRoutePathRedirect",
		"HTTPRoutePathRewrite",
		"HTTPRoutePortRedirect",
		"HTTPRouteQueryParamMatching",
		"HTTPRouteRequestMirror",
		"HTTPRouteRequestMultipleMirrors",
		"HTTPRouteRequestPercentageMirror",
		"HTTPRouteRequestTimeout",
		"HTTPRouteResponseHeaderModification",
		"HTTPRouteRetry",
		"HTTPRouteRetryBackendTimeout",
		"HTTPRouteSchemeRedirect",
		"ReferenceGrant",
	}
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

// ofV17 are features as Gateway API v1.7 names them: what was HTTPRouteRetry is now retries on status codes,
// and a backend's timeout that is retried is part of timeouts.
func ofV17(list []string) []string {
	var out []string
	for _, f := range list {
		switch f {
		case "HTTPRouteRetry":
			out = append(out, "HTTPRouteRetryCodes")
		case "HTTPRouteRetryBackendTimeout":
		default:
			out = append(out, f)
		}
	}
	return append(out, "GRPCRouteRequestHeaderModifier", "HTTPRouteBackendURLRewrite")
}

func gatewayFeatures03() []string {
	return sorted(append(
		ofV17(gatewayFeatures02()),
		"ClusterTrustBundle",
		"GatewayAddressRoutability",
		"GatewayAddressRoutabilityCluster",
		"GatewayRouteHostnameIntersectionPrecedence",
	))
}

func meshFeatures03() []string { return sorted(ofV17(meshFeatures02())) }

// sorted because the Gateway API asks for ascending order by name.
func sorted(s []string) []string {
	slices.Sort(s)
	return s
}
