// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

// how says of each feature how it becomes Envoy configuration.
func how() map[string]string {
	return map[string]string{
		"Gateway":        "A Deployment, a Service and a listener per port (`gw/NAMESPACE/NAME/PORT`); listeners of Gateway API that share the port are filter chains or virtual hosts of it.",
		"HTTPRoute":      "Rules become routes of the RouteConfiguration of a Gateway's port or of a Service's port, in the order of precedence.",
		"GRPCRoute":      "As HTTPRoute: a method is a path, and a route matches only `application/grpc`.",
		"TLSRoute":       "A filter chain by server name, which asks for its `tcp_proxy` (extension config discovery).",
		"TCPRoute":       "The `tcp_proxy` of the port's filter chain, with weighted clusters, by extension config discovery.",
		"UDPRoute":       "A UDP listener with `udp_proxy`.",
		"ReferenceGrant": "Decides whether a reference is followed; a share that is not permitted is answered with 500.",
		"Mesh":           "An outbound listener per Service port in every sidecar, matched by the original destination.",

		"GatewayPort8080":                                            "Nothing of its own: any port can be a listener's.",
		"GatewayStaticAddresses":                                     "`loadBalancerIP` of the Gateway's Service; an address that does not come is told with AddressNotUsable.",
		"GatewayAddressRoutability":                                  "Nothing of Envoy's: `status.addresses` has an address of the Gateway's Service for each entry of `spec.addresses`; condition AddressesAssigned names the entries without one.",
		"GatewayAddressRoutabilityCluster":                           "A cluster address of the Gateway's Service, which is of type ClusterIP if all entries ask for that.",
		"GatewayListenerFilters":                                     "Not served: a listener with filters is not accepted, because its requests would pass without them.",
		"GatewayRouteHostnameIntersectionPrecedence":                 "Rules of the route with the most specific host name of its own come first; a TLS server name belongs to that route.",
		"ClusterTrustBundle":                                         "Its certificates in the validation context of a cluster, or of a filter chain.",
		"GatewayAddressEmpty":                                        "The load balancer chooses.",
		"GatewayInfrastructure":                                      "Labels and annotations of the Deployment, its pods, the Service and the ServiceAccount.",
		"GatewayHTTPListenerIsolation":                               "A virtual host belongs to the listener with the most specific host name, and has that listener's routes alone.",
		"GatewayHTTPSListenerDetectMisdirectedRequests":              "Each HTTPS listener has a RouteConfiguration of its own; in it host names of other listeners answer 421.",
		"GatewayBackendClientCertificate":                            "Clusters of its own for the Gateway, whose TLS context has the certificate.",
		"GatewayFrontendClientCertificateValidation":                 "A validation context with the CA bundle in the filter chain, which asks for a certificate.",
		"GatewayFrontendClientCertificateValidationInsecureFallback": "The same validation context, without requiring a certificate that it accepts.",
		"ListenerSet":                                                "Its listeners are the Gateway's, after those of the Gateway itself.",

		"BackendTLSPolicy":              "The transport socket of the Service port's cluster: TLS with the host name as SNI, checked by the CA bundle.",
		"BackendTLSPolicySANValidation": "Subject alternative names in that cluster's validation context.",

		"HTTPRouteBackendProtocolH2C":               "HTTP/2 as the protocol of the cluster.",
		"HTTPRouteBackendProtocolWebSocket":         "Upgrades to WebSocket are let through everywhere.",
		"HTTPRouteBackendRequestHeaderModification": "Header changes of a weighted cluster.",
		"HTTPRouteBackendTimeout":                   "`per_try_timeout` of the retry policy.",
		"HTTPRouteCORS":                             "Configuration of the CORS filter for the route.",
		"HTTPRouteDestinationPortMatching":          "The route attaches only to the listeners of that port.",
		"HTTPRouteHostRewrite":                      "`host_rewrite_literal`.",
		"HTTPRouteMethodMatching":                   "A match of the header `:method`.",
		"HTTPRouteNamedRouteRule":                   "The rule's name is the end of the route's name: `HTTPRoute/NAMESPACE/NAME/RULE`.",
		"HTTPRouteParentRefPort":                    "The route attaches only to the listeners, or to the Service port, of that number.",
		"HTTPRoutePathRedirect":                     "`path_redirect` or `prefix_rewrite` of a redirection.",
		"HTTPRoutePathRewrite":                      "`prefix_rewrite` or `regex_rewrite`.",
		"HTTPRoutePortRedirect":                     "`port_redirect`; a scheme's own port is left out.",
		"HTTPRouteQueryParamMatching":               "A match of query parameters.",
		"HTTPRouteRequestMirror":                    "A mirror policy; the answer is dropped.",
		"HTTPRouteRequestMultipleMirrors":           "Several mirror policies.",
		"HTTPRouteRequestPercentageMirror":          "The mirror policy's fraction, in millionths.",
		"HTTPRouteRequestTimeout":                   "`timeout` of the route.",
		"HTTPRouteResponseHeaderModification":       "Header changes of the route.",
		"HTTPRouteRetryCodes":                       "The route's retry policy: `retriable-status-codes` beside the failures that are always safe to retry, and an attempt that reaches `per_try_timeout`.",
		"HTTPRouteBackendURLRewrite":                "The route's rewrite; a route for each backend, with `runtime_fraction`, if the rewrites of a rule's backends differ.",
		"HTTPRouteRetryConnectionError":             "`connect-failure` and the like, on another endpoint where there is one.",
		"HTTPRouteSchemeRedirect":                   "`scheme_redirect`.",
		"HTTPRoute303RedirectStatusCode":            "The redirection's response code.",
		"HTTPRoute307RedirectStatusCode":            "The redirection's response code.",
		"HTTPRoute308RedirectStatusCode":            "The redirection's response code.",
		"GRPCRouteRequestHeaderModifier":            "Header changes of the route.",
		"GRPCRouteNamedRouteRule":                   "The rule's name is the end of the route's name: `GRPCRoute/NAMESPACE/NAME/RULE`.",

		"TLSRouteModeTerminate": "A filter chain by server name that ends TLS and passes bytes on.",
		"TLSRouteModeMixed":     "Filter chains that end TLS and others that pass it on, side by side on a port.",

		"MeshClusterIPMatching":                         "Listeners match the Service's cluster IP; the request's host name has no effect.",
		"MeshConsumerRoute":                             "A variant of the Service port's listener and routes for the clients of the route's namespace.",
		"MeshHTTPRouteBackendRequestHeaderModification": "Header changes of a weighted cluster.",
		"MeshHTTPRouteNamedRouteRule":                   "The rule's name is the end of the route's name.",
		"MeshHTTPRouteQueryParamMatching":               "A match of query parameters.",
		"MeshHTTPRouteRedirectPath":                     "`path_redirect` or `prefix_rewrite` of a redirection.",
		"MeshHTTPRouteRedirectPort":                     "`port_redirect`.",
		"MeshHTTPRouteRewritePath":                      "`prefix_rewrite` or `regex_rewrite`.",
		"MeshHTTPRouteSchemeRedirect":                   "`scheme_redirect`.",
	}
}

// tested names the tests of this repository that prove a feature for which the suite has none.
func tested() map[string]string {
	return map[string]string{
		"ClusterTrustBundle":               "`internal/controlplane/gatewayapi TestGolden/trust-bundles`, `test/api/source TestSource`",
		"GatewayAddressRoutability":        "`internal/controlplane/status TestRoutability`",
		"GatewayAddressRoutabilityCluster": "`internal/controlplane/status TestRoutability`, `internal/lifecycle/render TestClusterAddresses`",
	}
}
