// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"math"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	proxyprotocolv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/proxy_protocol/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
)

// This file has the limits for clients that may be anybody: all clients of Gateways, and clients of sidecars
// that come without mutual TLS. Between proxies of the mesh the limits are those of hcm.go.

const (
	// edgeStreams is how many requests a client may have on one connection at a time, as Envoy advises. Each may
	// hold 64 KiB here, and 256 KiB that have come from a proxy of the mesh.
	edgeStreams = 100
	// edgeFlush is how long an answer that is complete may wait for a client that does not read it.
	edgeFlush = 5 * time.Minute
	// helloBuffer is how much is set aside for a TLS hello before anything has been read. Envoy doubles it for
	// a longer hello. Its default of 64 KiB is taken for each connection, also if the client sends nothing.
	helloBuffer = 2 << 10
	// headerTimeout is how long a port for TCP waits for a header of the PROXY protocol that need not come. It is longer
	// than a few retransmissions, and shorter than the time after which common clients give up (MySQL: 10 s).
	headerTimeout = 3 * time.Second
	// maxSessions is how many clients of UDP the endpoints of a Service port may have at a time, by one proxy.
	// Each holds a socket for udpIdle.
	maxSessions = 65536
)

// peerHeadersKb and peerHeadersCount are what a proxy takes from another one: that one has taken as much as
// headersKb and headersCount say, and adds its own and what filters of a rule and of its backend set or add, which
// are at most 64. So it is always the first proxy that refuses a message, with 431 or 502.
const (
	peerHeadersKb    = headersKb + 32
	peerHeadersCount = headersCount + 64 + 32
)

// edgeHTTP2 are the options of HTTP/2 for clients that may be anybody. Envoy's own limits of resets (CVE-2023-44487),
// and of frames that wait or say nothing, hold. An invalid message ends its connection.
func edgeHTTP2() *corev3.Http2ProtocolOptions {
	return &corev3.Http2ProtocolOptions{
		MaxConcurrentStreams:        wrapperspb.UInt32(edgeStreams),
		InitialStreamWindowSize:     wrapperspb.UInt32(edgeStreamWindow),
		InitialConnectionWindowSize: wrapperspb.UInt32(edgeConnectionWindow),
	}
}

// fromWorld is what the Gateway says about its clients. A stream that is silent for too long ends: a client
// that reads nothing (a window of zero) or sends nothing holds memory here, and a request at a backend.
func (m manager) fromWorld(h *hcmv3.HttpConnectionManager) {
	idle := m.clients.StreamIdle
	if idle == 0 {
		idle = model.StreamIdle
	}
	h.StreamIdleTimeout = duration(max(idle, 0))
	h.StreamFlushTimeout = duration(edgeFlush)
	if idle > 0 {
		h.StreamFlushTimeout = duration(min(idle, edgeFlush))
	}
	m.http2(h.GetHttp2ProtocolOptions())
	// As in the mesh, where the request goes on. What limits a client is the size of all headers together.
	h.CommonHttpProtocolOptions.MaxHeadersCount = wrapperspb.UInt32(headersCount)
	h.CommonHttpProtocolOptions.HeadersWithUnderscoresAction = corev3.HttpProtocolOptions_DROP_HEADER
	switch m.clients.Underscores {
	case model.UnderscoresReject:
		h.CommonHttpProtocolOptions.HeadersWithUnderscoresAction = corev3.HttpProtocolOptions_REJECT_REQUEST
	case model.UnderscoresAllow:
		h.CommonHttpProtocolOptions.HeadersWithUnderscoresAction = corev3.HttpProtocolOptions_ALLOW
	}
	removeForgedHeaders(h)
	h.MergeSlashes = m.clients.MergeSlashes
	switch m.clients.EscapedSlashes {
	case model.SlashesReject:
		h.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_REJECT_REQUEST
	case model.SlashesRedirect:
		h.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_UNESCAPE_AND_REDIRECT
	case model.SlashesUnescape:
		h.PathWithEscapedSlashesAction = hcmv3.HttpConnectionManager_UNESCAPE_AND_FORWARD
	}
}

// http2 are the limits that the Gateway has chosen itself. A connection holds as much as one of its streams at least.
func (m manager) http2(o *corev3.Http2ProtocolOptions) {
	if n := m.clients.Streams; n > 0 {
		o.MaxConcurrentStreams = wrapperspb.UInt32(n)
	}
	if n := m.clients.StreamWindow; n > 0 {
		o.InitialStreamWindowSize = wrapperspb.UInt32(n)
		o.InitialConnectionWindowSize = wrapperspb.UInt32(max(n, edgeConnectionWindow))
	}
}

// fromStrangers sets the limits for clients of a sidecar that come without mutual TLS. What they may ask for
// is what it was: silent streams, WebSockets over HTTP/2, and header fields as long as other proxies may send.
func fromStrangers(h *hcmv3.HttpConnectionManager) {
	o := edgeHTTP2()
	o.AllowConnect = true
	o.MaxHeaderFieldSizeKb = largestField()
	// Such a client may itself be a proxy, with requests of others on the same connection.
	o.OverrideStreamErrorOnInvalidHttpMessage = wrapperspb.Bool(true)
	h.Http2ProtocolOptions = o
	h.RequestHeadersTimeout = duration(headersTimeout)
	h.StreamFlushTimeout = duration(edgeFlush)
}

// largestField is the length of a single header field from which on Envoy's HTTP/2 library ends a connection
// with all requests on it. A proxy refuses headers of more than headersKb in all, so no proxy sends that much:
// only the request whose headers are too long fails.
func largestField() *wrapperspb.UInt32Value { return wrapperspb.UInt32(headersKb) }

// inspectHellos has a Gateway's listener read server names.
func inspectHellos(l *listenerv3.Listener) {
	l.ListenerFilters = []*listenerv3.ListenerFilter{
		listenerFilter(tlsInspector, &tlsinspectorv3.TlsInspector{InitialReadBufferSize: wrapperspb.UInt32(helloBuffer)}),
	}
	l.ListenerFiltersTimeout = duration(handshakeTimeout)
}

// proxyProtocol has a Gateway's listener take the address of a client from what a load balancer says before anything else.
// It comes before all other listener filters: they look at the first bytes of the client itself.
//
// Where clients without the header are accepted, a client of a port for TCP may wait for the server's first bytes. It is
// connected after headerTimeout. Envoy only looks at the first bytes until the header is complete: one that comes later, in
// part or whole, is passed on as data and gives no address. With TLS and HTTP the client sends first.
func proxyProtocol(l *listenerv3.Listener, g model.GatewayPort) {
	if g.ProxyProtocol == "" {
		return
	}
	accept := g.ProxyProtocol == model.ProxyProtocolAccept
	l.ListenerFilters = append([]*listenerv3.ListenerFilter{
		listenerFilter(proxyProtocolFilter, &proxyprotocolv3.ProxyProtocol{AllowRequestsWithoutProxyProtocol: accept}),
	}, l.GetListenerFilters()...)
	l.ListenerFiltersTimeout = duration(handshakeTimeout)
	if accept && !g.TLS && len(g.Sections) > 0 && g.Sections[0].Bytes {
		l.ListenerFiltersTimeout = duration(headerTimeout)
		l.ContinueOnListenerFiltersTimeout = true
	}
}

// proxyProtocolFilter is the name of Envoy's listener filter for the PROXY protocol.
const proxyProtocolFilter = "envoy.filters.listener.proxy_protocol"

// boundSessions bounds the clients of a UDP port: they prove no address, so anybody can be any number of them.
func boundSessions(c *clusterv3.Cluster) {
	most := wrapperspb.UInt32(math.MaxUint32)
	c.CircuitBreakers = &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections: wrapperspb.UInt32(maxSessions), MaxPendingRequests: most, MaxRequests: most, MaxRetries: most,
	}}}
}
