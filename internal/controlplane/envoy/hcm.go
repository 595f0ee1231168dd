// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"time"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
)

// unreached is the header by which a server's proxy says that a request never got to the
// application (its connection was refused), so that a client's proxy may send it to another pod.
// It is the connect-failure of the next hop: retrying is as safe as after a failed connection of
// one's own. Neither applications nor clients see it: both proxies remove it from what comes past.
const unreached = "x-tulle-unreached"

// manager is what differs between HTTP connection managers.
type manager struct {
	place place
	// stat names the manager in Envoy's statistics.
	stat string
	// routes is the name of the RouteConfiguration to ask for; inline is one given here.
	routes string
	inline *routev3.RouteConfiguration
	// peer: the client has shown a certificate of the mesh, and is told to the application.
	peer bool
	// host is the authority of HTTP/1.0 requests without a Host header.
	host string
	// hops is the number of trusted proxies in front of a gateway.
	hops uint32
	// clients is what a gateway says about its clients.
	clients model.GatewayClientSettings
	// count has the manager count its requests; nil: nothing but what every manager counts.
	count func(*hcmv3.HttpConnectionManager)
}

func (m manager) filter() *listenerv3.Filter {
	h := &hcmv3.HttpConnectionManager{
		// AUTO: HTTP/1.x and HTTP/2, by ALPN or by the connection's first bytes.
		CodecType:   hcmv3.HttpConnectionManager_AUTO,
		StatPrefix:  m.stat,
		HttpFilters: filtersAt(m.place),
		// The only upgrade that proxies pass on.
		UpgradeConfigs: []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},
		// The application decides about Expect: 100-continue.
		Proxy_100Continue: true,
		// Streams may be silent for as long as they like: WebSockets, gRPC watches, long polls. Gateways have a limit.
		StreamIdleTimeout: duration(0),
		// The application's own Server header.
		ServerHeaderTransformation: hcmv3.HttpConnectionManager_PASS_THROUGH,
		// No address makes a request trusted, so x-envoy-* request headers that steer Envoy's
		// timeouts and retries are removed everywhere.
		InternalAddressConfig: &hcmv3.HttpConnectionManager_InternalAddressConfig{},
		// A client certificate is told only by the proxy that verified it.
		ForwardClientCertDetails: hcmv3.HttpConnectionManager_SANITIZE,
		HttpProtocolOptions: &corev3.Http1ProtocolOptions{
			AcceptHttp_10:         true,
			DefaultHostForHttp_10: m.host,
			EnableTrailers:        true,
		},
	}
	openHTTP1(h.GetHttpProtocolOptions())
	if m.inline != nil {
		h.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: m.inline}
	} else {
		h.RouteSpecifier = &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{
			ConfigSource: ads(), RouteConfigName: m.routes,
		}}
	}
	if m.peer {
		h.ForwardClientCertDetails = hcmv3.HttpConnectionManager_SANITIZE_SET
		h.SetCurrentClientCertDetails = &hcmv3.HttpConnectionManager_SetCurrentClientCertDetails{Uri: true}
	}
	switch m.place {
	case outbound:
		m.client(h)
	case inbound:
		m.server(h)
	case edge:
		m.gateway(h)
	}
	if m.count != nil {
		m.count(h)
	}
	return &listenerv3.Filter{
		Name:       "envoy.filters.network.http_connection_manager",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: typed(h)},
	}
}

// client: the peer is the application of the same pod. Nothing of its request is changed but by routes,
// and the path to the form that they match.
func (m manager) client(h *hcmv3.HttpConnectionManager) {
	m.sidecar(h)
	unavailable(h)
	h.NormalizePath = clientPaths()
	// The application closes its connections, never the proxy: no race with a request being sent.
	h.CommonHttpProtocolOptions.IdleTimeout = duration(0)
}

// server: the peer is another proxy or, in Permissive mode, anybody.
func (m manager) server(h *hcmv3.HttpConnectionManager) {
	m.sidecar(h)
	h.CommonHttpProtocolOptions.IdleTimeout = duration(inboundIdle)
	// RFC 3986 normal form, so that what policies match is what the application gets.
	h.NormalizePath = wrapperspb.Bool(true)
	if m.peer {
		h.MaxRequestHeadersKb = wrapperspb.UInt32(peerHeadersKb)
		h.CommonHttpProtocolOptions.MaxHeadersCount = wrapperspb.UInt32(peerHeadersCount)
	} else {
		fromStrangers(h)
	}
	removeForgedIdentities(h)
	h.LocalReplyConfig = &hcmv3.LocalReplyConfig{Mappers: []*hcmv3.ResponseMapper{{
		Filter: &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_ResponseFlagFilter{
			// UF: the connection to the application failed; nothing of the request was sent.
			ResponseFlagFilter: &accesslogv3.ResponseFlagFilter{Flags: []string{"UF"}},
		}},
		HeadersToAdd: []*corev3.HeaderValueOption{{
			Header:       &corev3.HeaderValue{Key: unreached, Value: "1"},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		}},
	}}}
}

// sidecar: forwarding headers pass as they are; limits are those of the peers.
func (manager) sidecar(h *hcmv3.HttpConnectionManager) {
	h.UseRemoteAddress = wrapperspb.Bool(false)
	h.SkipXffAppend = true
	h.MaxRequestHeadersKb = wrapperspb.UInt32(headersKb)
	h.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{MaxHeadersCount: wrapperspb.UInt32(headersCount)}
	h.Http2ProtocolOptions = meshHTTP2()
	allowResets(h.Http2ProtocolOptions)
}

// gateway: the peer is anybody, in the outside world.
func (m manager) gateway(h *hcmv3.HttpConnectionManager) {
	h.UseRemoteAddress = wrapperspb.Bool(true)
	h.XffNumTrustedHops = m.hops
	keepRequestID(h)
	unavailable(h)
	h.NormalizePath = wrapperspb.Bool(true)
	h.RequestHeadersTimeout = duration(headersTimeout)
	h.CommonHttpProtocolOptions = &corev3.HttpProtocolOptions{IdleTimeout: duration(inboundIdle)}
	// No extended CONNECT (RFC 8441): Envoy would make a WebSocket handshake without a key of it, which
	// applications refuse. Browsers open an HTTP/1.1 connection for a WebSocket where it is not offered.
	h.Http2ProtocolOptions = edgeHTTP2()
	m.fromWorld(h)
}

// meshHTTP2 are the options of HTTP/2 beside applications and between proxies.
func meshHTTP2() *corev3.Http2ProtocolOptions {
	return &corev3.Http2ProtocolOptions{
		// Extended CONNECT (RFC 8441): WebSockets between proxies.
		AllowConnect:                true,
		MaxConcurrentStreams:        wrapperspb.UInt32(meshStreams),
		InitialStreamWindowSize:     wrapperspb.UInt32(meshStreamWindow),
		InitialConnectionWindowSize: wrapperspb.UInt32(meshConnectionWindow),
		MaxOutboundFrames:           wrapperspb.UInt32(meshFrames),
		MaxHeaderFieldSizeKb:        largestField(),
		// An invalid message ends its stream, not the thousands of others on the connection.
		OverrideStreamErrorOnInvalidHttpMessage: wrapperspb.Bool(true),
	}
}

// peerKeepalive finds a vanished proxy sooner than TCP does. Only between proxies: servers of
// applications may take such pings for an attack (gRPC's too_many_pings).
func peerKeepalive() *corev3.KeepaliveSettings {
	return &corev3.KeepaliveSettings{Interval: duration(30 * time.Second), Timeout: duration(30 * time.Second)}
}
