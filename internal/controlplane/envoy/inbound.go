// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// The filter chains of an inbound listener. A chain is what a connection is treated as, and says nothing of
// ports, Services or the mode of mutual TLS: those are in the matcher (inbound_match.go). Envoy replaces
// chains and matcher of a listener in place, and ends the connections of a chain only if that chain changed
// or was removed. So a connection outlives every change that concerns new connections alone.
const (
	chainLoop      = "loop"       // closed
	chainHTTP1     = "mesh-http1" // mutual TLS; the application is asked with HTTP/1.1
	chainHTTP2     = "mesh-http2" // mutual TLS; the application is asked with HTTP/2
	chainHTTP      = "mesh-http"  // mutual TLS; the application is asked with the client's version of HTTP
	chainTCP       = "mesh-tcp"   // mutual TLS; bytes
	chainPlainHTTP = "plaintext"  // no TLS; the application is asked with the client's version of HTTP
	chainBytes     = "bytes"      // bytes as they are: plaintext, or the application's own TLS
)

// Inbound makes a pod's inbound listener. In Strict mode no chain takes what is not mutual TLS.
//
// Nothing but the chains and their matcher may depend on the model: Envoy replaces a listener that differs
// in anything else, and ends all of its connections.
func Inbound(in model.Inbound) Resource {
	refs := refSet{}
	l := &listenerv3.Listener{
		Name:             names.Inbound(in.Pod.Namespace, in.Pod.Name),
		Address:          address(anyIPv4, names.PortInbound),
		TrafficDirection: corev3.TrafficDirection_INBOUND,
		ListenerFilters: []*listenerv3.ListenerFilter{
			// First, because everything after it goes by the destination the client meant.
			listenerFilter("envoy.filters.listener.original_dst", &originaldstv3.OriginalDst{}),
			// Reads the server name and ALPN by which the mesh's connections are known.
			listenerFilter(tlsInspector, &tlsinspectorv3.TlsInspector{}),
		},
		// In Strict mode, too, where nothing would need it. See lateHello.
		ListenerFiltersTimeout:           duration(sniffTimeout),
		ContinueOnListenerFiltersTimeout: true,
		PerConnectionBufferLimitBytes:    wrapperspb.UInt32(bufferLimit),
		TcpKeepalive:                     keepalive(),
		Metadata:                         excluded(in.Excluded),
		FilterChains: []*listenerv3.FilterChain{
			{Name: chainLoop, Filters: []*listenerv3.Filter{bytesTo(names.Blackhole, names.Blackhole, refs)}},
			fromMesh(chainHTTP1, toHTTP(names.InboundHTTP1, true, refs)),
			fromMesh(chainHTTP2, toHTTP(names.InboundHTTP2, true, refs)),
			fromMesh(chainHTTP, toHTTP(names.InboundHTTP, true, refs)),
			fromMesh(chainTCP, bytesTo(names.InboundTCP, names.InboundTCP, refs)),
		},
		FilterChainMatcher: inboundMatcher(in),
	}
	if !in.Strict {
		l.FilterChains = append(l.FilterChains,
			&listenerv3.FilterChain{Name: chainPlainHTTP, Filters: []*listenerv3.Filter{toHTTP(names.InboundHTTP, false, refs)}},
			&listenerv3.FilterChain{Name: chainBytes, Filters: []*listenerv3.Filter{plainBytes(refs)}},
		)
	}
	return listener(l, refs)
}

// fromMesh is a chain of connections from other proxies. It selects no ALPN protocol: with one, Envoy would
// take what is not "h2" for HTTP/1.1; without, it reads the version of HTTP from the first bytes.
func fromMesh(name string, filter *listenerv3.Filter) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name:                          name,
		TransportSocket:               fromPeer(),
		TransportSocketConnectTimeout: duration(handshakeTimeout),
		Filters:                       []*listenerv3.Filter{filter},
	}
}

// toHTTP hands every request to the application, without a timeout and without retries: both are the client's.
func toHTTP(app string, peer bool, refs refSet) *listenerv3.Filter {
	rc := &routev3.RouteConfiguration{
		Name: app,
		VirtualHosts: []*routev3.VirtualHost{{
			Name:    app,
			Domains: []string{"*"},
			Routes: []*routev3.Route{{
				Match: anyPath(),
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{
					ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: refs.cluster(app)},
					Timeout:          duration(0),
				}},
			}},
		}},
		// Only this proxy may say that a request did not reach the application.
		ResponseHeadersToRemove: []string{unreached},
	}
	stat := app
	if app == names.InboundHTTP {
		// By their statistics agents know whether requests are under way, and those of release 0.2.0 do not
		// know this name.
		stat = names.InboundHTTP1
	}
	m := manager{place: inbound, stat: stat, inline: rc, peer: peer, host: "localhost"}
	if !peer {
		m.count = countPlainHTTP
	}
	return m.filter()
}

// plainBytes hands connections to the application as they are.
func plainBytes(refs refSet) *listenerv3.Filter {
	p := tcpProxy(names.InboundTCP)
	p.ClusterSpecifier = &tcpv3.TcpProxy_Cluster{Cluster: refs.cluster(names.InboundTCP)}
	countPlainBytes(p)
	return tcpFilter(p)
}

// inboundClusters are those by which requests and bytes get to the application.
func inboundClusters() []Resource {
	return []Resource{cluster(toApplication(names.InboundTCP)), inboundHTTP1(), inboundHTTP2(), inboundHTTP()}
}

// inboundHTTP asks the application with the version of HTTP that the client speaks.
func inboundHTTP() Resource {
	c := toApplication(names.InboundHTTP)
	c.TypedExtensionProtocolOptions = upstreamAsClient(appIdle)
	return cluster(c)
}

// excluded writes down, for people who read the listener, the ports that never reach it.
func excluded(ports []uint16) *corev3.Metadata {
	if len(ports) == 0 {
		return nil
	}
	list := &structpb.ListValue{}
	for _, p := range ports {
		list.Values = append(list.Values, structpb.NewNumberValue(float64(p)))
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{names.Group: {
		Fields: map[string]*structpb.Value{"excludedInboundPorts": structpb.NewListValue(list)},
	}}}
}
