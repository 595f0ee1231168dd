// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import (
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// Inbound makes a pod's inbound listener. Envoy picks a chain by destination port, then server
// name, then TLS or not, then ALPN, and never goes back a step: so each known port carries all the
// chains that connections to it may need. In Strict mode whatever is not mutual TLS finds no chain
// and is closed.
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
			listenerFilter("envoy.filters.listener.tls_inspector", &tlsinspectorv3.TlsInspector{}),
		},
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
		TcpKeepalive:                  keepalive(),
		Metadata:                      excluded(in.Excluded),
	}
	l.FilterChains = append(l.FilterChains, loop(names.PortOutbound, refs), loop(names.PortInbound, refs))
	for _, p := range in.Ports {
		l.FilterChains = append(l.FilterChains, inboundPort(p, in.Strict, refs)...)
	}
	l.FilterChains = append(l.FilterChains, meshChains(0, names.InboundHTTP1, refs)...)
	if !in.Strict {
		l.ListenerFiltersTimeout = duration(sniffTimeout)
		l.ContinueOnListenerFiltersTimeout = true
		l.DefaultFilterChain = &listenerv3.FilterChain{
			Name:    "unknown",
			Filters: []*listenerv3.Filter{bytesTo(names.InboundTCP, names.InboundTCP, refs)},
		}
	}
	return listener(l, refs)
}

// inboundPort makes the chains of a port whose protocol is known.
func inboundPort(p model.InboundPort, strict bool, refs refSet) []*listenerv3.FilterChain {
	app := applicationCluster(p.Protocol)
	chains := meshChains(p.Port, app, refs)
	if strict {
		return chains
	}
	port := strconv.Itoa(int(p.Port))
	plain := bytesTo(names.InboundTCP, names.InboundTCP, refs)
	if p.Protocol.IsHTTP() {
		plain = toHTTP(app, false, refs)
	}
	return append(chains,
		&listenerv3.FilterChain{
			Name:             port + "-plaintext",
			FilterChainMatch: match(p.Port, "raw_buffer"),
			Filters:          []*listenerv3.Filter{plain},
		},
		&listenerv3.FilterChain{
			Name:             port + "-tls", // the application's own
			FilterChainMatch: match(p.Port, "tls"),
			Filters:          []*listenerv3.Filter{bytesTo(names.InboundTCP, names.InboundTCP, refs)},
		})
}

// meshChains make the two chains of connections from other proxies; port 0 stands for ports whose
// protocol is not known.
func meshChains(port uint16, app string, refs refSet) []*listenerv3.FilterChain {
	prefix := "any"
	if port != 0 {
		prefix = strconv.Itoa(int(port))
	}
	chain := func(name string, filter *listenerv3.Filter, alpn ...string) *listenerv3.FilterChain {
		m := match(port, "tls")
		m.ServerNames = []string{"*." + names.SNISuffix}
		m.ApplicationProtocols = alpn
		return &listenerv3.FilterChain{
			Name:                          prefix + name,
			FilterChainMatch:              m,
			TransportSocket:               fromPeer(alpn...),
			TransportSocketConnectTimeout: duration(handshakeTimeout),
			Filters:                       []*listenerv3.Filter{filter},
		}
	}
	return []*listenerv3.FilterChain{
		chain("-mesh-http", toHTTP(app, true, refs), names.ALPNHTTP, names.ALPNHTTP1),
		chain("-mesh-tcp", bytesTo(names.InboundTCP, names.InboundTCP, refs), names.ALPNTCP),
	}
}

// applicationCluster is where requests to an application of that protocol go. A client that speaks
// HTTP to a port that is TCP to us is taken to know better.
func applicationCluster(p model.Protocol) string {
	if p == model.HTTP2 || p == model.GRPC {
		return names.InboundHTTP2
	}
	return names.InboundHTTP1
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
	return manager{place: inbound, stat: app, inline: rc, peer: peer, host: "localhost"}.filter()
}

func match(port uint16, transport string) *listenerv3.FilterChainMatch {
	m := &listenerv3.FilterChainMatch{TransportProtocol: transport}
	if port != 0 {
		m.DestinationPort = wrapperspb.UInt32(uint32(port))
	}
	return m
}

// inboundClusters are those by which requests and bytes get to the application.
func inboundClusters() []Resource {
	return []Resource{cluster(toApplication(names.InboundTCP)), inboundHTTP1(), inboundHTTP2()}
}
