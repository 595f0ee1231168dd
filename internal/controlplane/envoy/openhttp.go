// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"

	"tulle.dev/tulle/internal/controlplane/model"
)

// This file passes on the parts of HTTP that its specifications leave open: any method, any value of
// Upgrade, and CONNECT requests to an application.

// upgradeWebSocket is the only upgrade that proxies pass on; methodConnect is passed on like an upgrade.
const (
	upgradeWebSocket = "websocket"
	methodConnect    = "CONNECT"
)

// openHTTP1 sets what a proxy accepts from HTTP/1.1 clients. The set of methods is open (RFC 9110, 16.1).
// An upgrade that is not passed on is ignored, and the request is handled without it (RFC 9110, 7.8):
// Envoy removes each value that a matcher matches, and answers 403 if one remains that is not enabled.
func openHTTP1(o *corev3.Http1ProtocolOptions) {
	o.AllowCustomMethods = true
	o.IgnoreHttp_11Upgrade = []*matcherv3.StringMatcher{{
		MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(unlikeWebSocket)},
	}}
}

// unlikeWebSocket matches all values that do not begin with the letter of WebSocket, the only registered
// protocol that does. Every listener has a copy of the expression, and one that excludes exactly that word
// takes ten times the memory (11 KB).
const unlikeWebSocket = `[ -VX-vx-~].*`

// upgrades are the upgrades that proxies pass on. CONNECT also needs a route.
func upgrades() []*hcmv3.HttpConnectionManager_UpgradeConfig {
	return []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: upgradeWebSocket}, {UpgradeType: methodConnect}}
}

// keepRequestID keeps the x-request-id of clients of Gateways, as sidecars keep it: whoever follows a
// request through logs follows it from its first sender. A request without one gets one.
func keepRequestID(h *hcmv3.HttpConnectionManager) { h.PreserveExternalRequestId = true }

// connectMatch is the match of a rule for CONNECT requests, nil for other rules. CONNECT requests have
// no path, and Envoy takes them for no match that says something of a path.
func connectMatch(m model.Match) *routev3.RouteMatch {
	if m.Method != methodConnect {
		return nil
	}
	return takesConnect()
}

func takesConnect() *routev3.RouteMatch {
	return &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_ConnectMatcher_{ConnectMatcher: &routev3.RouteMatch_ConnectMatcher{}}}
}

// tunnels adds to the routes of a server's proxy the one for CONNECT requests, which goes where the last
// route does: the application decides about them. Clients' proxies and Gateways have a route only for a
// rule that names the method.
func tunnels(rc *routev3.RouteConfiguration) {
	for _, vh := range rc.GetVirtualHosts() {
		n := len(vh.GetRoutes())
		if n == 0 {
			continue
		}
		t := proto.Clone(vh.Routes[n-1]).(*routev3.Route)
		t.Match = takesConnect()
		vh.Routes = append(vh.Routes, t)
	}
}
