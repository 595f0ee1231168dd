// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rawv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	upstreamsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// clusterName is the name of a Service port's cluster and endpoints.
func clusterName(b model.BackendName) string {
	return names.Out{
		Namespace: b.Key.Service.Namespace, Service: b.Key.Service.Name, Port: b.Key.Port, As: b.As, Node: b.Node,
		TLS: b.Via.TLS, GatewayNamespace: b.Via.Gateway.Namespace, Gateway: b.Via.Gateway.Name,
	}.String()
}

func backendName(b model.WeightedBackend) string { return clusterName(b.Name()) }

// Cluster makes the cluster of a Service port; its endpoints come by EDS under the same name. A
// Direct backend instead goes to the original destination, over mutual TLS unless it is Plain.
//
//	transport  http                     http2, grpc            tcp                 TLS
//	mesh       HTTP/2, tulle-http1      HTTP/2, tulle-http2    bytes, tulle-tcp    always
//	mixed      HTTP/1.1, tulle-http1    HTTP/2, tulle-http2    bytes, tulle-tcp    where the endpoint says so
//	plain      HTTP/1.1                 HTTP/2                 bytes               never
//
// ALPN says how the server's proxy asks the application, not what is spoken between the proxies.
//
// A Direct backend offers tulle-any before tulle-tcp. UDP is never more than datagrams.
//
// With a BackendTLSPolicy (b.TLS) endpoints without a proxy are reached by TLS as it says, and
// everything else is as it was: an endpoint with a proxy keeps the mesh's. What is spoken inside is the
// same. If the policy can't be carried out, only endpoints that prove to be of the mesh are reached.
//
// Mixed can't leave the choice of HTTP version to ALPN: Envoy wants TLS on every endpoint for that.
func Cluster(b model.Backend) Resource {
	c := base(clusterName(model.BackendName{Key: b.Key, Node: b.Node, As: b.As, Via: b.Via}))
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
	c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads(), ServiceName: c.GetName()}
	switch {
	case b.Affinity:
		// A ring, not Maglev: a small Service needs a small table.
		c.LbPolicy = clusterv3.Cluster_RING_HASH
	case b.Protocol.IsHTTP():
		c.LbPolicy = clusterv3.Cluster_LEAST_REQUEST
	default:
		// In turn, so that another attempt to connect goes to another endpoint: a dead one has the fewest
		// connections, and TCP retries, unlike HTTP's, can't be told to avoid it.
		c.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
	}
	if b.Direct {
		c.Name = names.Direct(b.Key.Service.Namespace, b.Key.Service.Name, b.Key.Port)
		c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST}
		c.EdsClusterConfig = nil
		c.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
		if b.Transport != model.Plain {
			b.Transport = model.MeshOnly // the original destination carries no metadata to choose by
		}
		b.Protocol = model.TCP
	} else {
		c.UpstreamConnectionOptions.TcpKeepalive = upstreamKeepalive()
	}
	if b.Protocol == model.UDP {
		c.UpstreamConnectionOptions = nil // there is no connection
		boundSessions(c)
		return cluster(c)
	}
	if b.TLS != nil && !usable(b.TLS) {
		b.Transport = model.MeshOnly
	}
	if version := secure(c, b); version == names.ALPNHTTP {
		c.TypedExtensionProtocolOptions = upstreamHTTP2(b.Transport)
	} else {
		// Also for TCP: an HTTP route may name a Service that is bytes to the mesh.
		c.TypedExtensionProtocolOptions = upstreamHTTP1(serverLimits(plainIdle, b.Transport))
	}
	return cluster(c)
}

// secure sets the transport sockets and returns the version of HTTP spoken over them, "" for bytes.
func secure(c *clusterv3.Cluster, b model.Backend) (version string) {
	switch {
	case !b.Protocol.IsHTTP():
	case b.Protocol == model.HTTP && b.Transport != model.MeshOnly:
		version = names.ALPNHTTP1
	default:
		version = names.ALPNHTTP
	}
	offered := meshALPN(b, version)
	if b.Direct {
		offered = directALPN()
	}
	peer := toPeer(b.Key, offered...)
	switch b.Transport {
	case model.Plain:
		if b.TLS != nil {
			c.TransportSocket = toBackend(b, version)
		}
	case model.Mixed:
		plain := socket("envoy.transport_sockets.raw_buffer", &rawv3.RawBuffer{})
		if b.TLS != nil {
			plain = toBackend(b, version)
		}
		c.TransportSocketMatches = []*clusterv3.Cluster_TransportSocketMatch{
			{Name: "mtls", Match: fields(matchKey, matchMTLS), TransportSocket: peer},
			{Name: "plaintext", Match: fields(), TransportSocket: plain},
		}
	case model.MeshOnly:
		// Not by match: whatever an endpoint says, nothing leaves in plaintext.
		c.TransportSocket = peer
	default:
		c.TransportSocket = peer // an unknown transport is a bug elsewhere: fail closed
	}
	return version
}

// base is what all clusters have in common.
func base(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                          name,
		ConnectTimeout:                duration(connectTimeout),
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
		CircuitBreakers:               unlimited(),
		UpstreamConnectionOptions:     &clusterv3.UpstreamConnectionOptions{TcpKeepalive: keepalive()},
		CommonLbConfig: &clusterv3.Cluster_CommonLbConfig{
			// Endpoints are healthy because Kubernetes says so; never fall back to those that aren't.
			HealthyPanicThreshold: &typev3.Percent{Value: 0},
		},
		// An endpoint that was taken away gets no new request at once; requests on their way end in peace.
		IgnoreHealthOnHostRemoval: true,
	}
}

// httpOptions is the key of a cluster's HTTP options.
const httpOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

func upstreamHTTP1(limits *corev3.HttpProtocolOptions) map[string]*anypb.Any {
	return upstreamHTTP(limits, &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_HttpProtocolOptions{
			HttpProtocolOptions: &corev3.Http1ProtocolOptions{EnableTrailers: true},
		},
	})
}

func upstreamHTTP2(t model.Transport) map[string]*anypb.Any {
	idle, options := plainIdle, upstreamStreams(appStreams)
	if t == model.MeshOnly {
		idle, options = outboundIdle, upstreamStreams(peerStreams)
		options.ConnectionKeepalive = peerKeepalive()
	}
	return upstreamHTTP(serverLimits(idle, t), explicitHTTP2(options))
}

// upstreamStreams are the options of connections that have at most n requests at a time. Envoy resets all requests
// of a client that has gone at once, and each reset is a control frame; with too few of these it would end the
// connection, and with it the requests of others.
func upstreamStreams(n uint32) *corev3.Http2ProtocolOptions {
	o := meshHTTP2()
	o.MaxConcurrentStreams = wrapperspb.UInt32(n)
	o.MaxOutboundControlFrames = wrapperspb.UInt32(max(1000, 4*n)) // Envoy's default is 1,000
	return o
}

// upstreamAsClient speaks HTTP/1.1 or HTTP/2, as the client does.
func upstreamAsClient(idle time.Duration) map[string]*anypb.Any {
	return map[string]*anypb.Any{httpOptions: typed(&upstreamsv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: upstreamLimits(idle),
		UpstreamProtocolOptions: &upstreamsv3.HttpProtocolOptions_UseDownstreamProtocolConfig{
			UseDownstreamProtocolConfig: &upstreamsv3.HttpProtocolOptions_UseDownstreamHttpConfig{
				HttpProtocolOptions:  &corev3.Http1ProtocolOptions{EnableTrailers: true},
				Http2ProtocolOptions: upstreamStreams(appStreams),
			},
		},
	})}
}

func explicitHTTP2(o *corev3.Http2ProtocolOptions) *upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig {
	return &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig{
		ProtocolConfig: &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{Http2ProtocolOptions: o},
	}
}

func upstreamHTTP(limits *corev3.HttpProtocolOptions, explicit *upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig) map[string]*anypb.Any {
	return map[string]*anypb.Any{httpOptions: typed(&upstreamsv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: limits,
		UpstreamProtocolOptions:   &upstreamsv3.HttpProtocolOptions_ExplicitHttpConfig_{ExplicitHttpConfig: explicit},
	})}
}

// serverLimits are the limits for answers of servers, which may be other proxies.
func serverLimits(idle time.Duration, t model.Transport) *corev3.HttpProtocolOptions {
	o := upstreamLimits(idle)
	if t != model.Plain {
		o.MaxHeadersCount, o.MaxResponseHeadersKb = wrapperspb.UInt32(peerHeadersCount), wrapperspb.UInt32(peerHeadersKb)
	}
	return o
}

func upstreamLimits(idle time.Duration) *corev3.HttpProtocolOptions {
	return &corev3.HttpProtocolOptions{
		IdleTimeout:          duration(idle),
		MaxHeadersCount:      wrapperspb.UInt32(headersCount),
		MaxResponseHeadersKb: wrapperspb.UInt32(headersKb),
	}
}
