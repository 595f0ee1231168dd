// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// This file passes on the parts of HTTP that its specifications leave open: any method but CONNECT, and any
// value of Upgrade.
//
// There is no route for CONNECT requests anywhere. To Envoy any answer of 2xx begins a tunnel, and many
// applications answer 200 to whatever method. What comes through a tunnel is read by no proxy: the
// application would take a client's own x-forwarded-client-cert for the proxy's.

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

// keepRequestID keeps the x-request-id of clients of Gateways, as sidecars keep it: whoever follows a
// request through logs follows it from its first sender. A request without one gets one.
func keepRequestID(h *hcmv3.HttpConnectionManager) { h.PreserveExternalRequestId = true }
