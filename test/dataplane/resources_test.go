// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	tlsinspectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

const (
	web     = "out/shop/web/80"
	webPort = 9443 // of the server in the peer
)

// serveShop puts everything that the pod shop/cart-0 needs: its inbound listener, and the Service web
// that the peer serves with mutual TLS.
func serveShop(t *testing.T, c *control) {
	t.Helper()
	in := names.Inbound("shop", "cart-0")
	c.putScope(names.ScopeSidecar("shop", "cart-0"), "1", protocol.Scope{
		Include:  []string{names.ScopeNamespace("shop")},
		Clusters: []string{names.Blackhole, names.InboundHTTP1, names.Passthrough}, Listeners: []string{in, names.Outbound},
		Proxy: &protocol.Proxy{Drain: protocol.Duration(2 * time.Second)},
	})
	c.putScope(names.ScopeNamespace("shop"), "1", protocol.Scope{Clusters: []string{web}, Listeners: []string{web}})

	c.put(names.Blackhole, "1", &clusterv3.Cluster{Name: names.Blackhole})
	c.put(names.Passthrough, "1", original(names.Passthrough, ""))
	c.put(names.InboundHTTP1, "1", original(names.InboundHTTP1, names.InboundSource))
	c.put(names.Outbound, "1", outbound(t))
	c.put(in, "1", inbound(t, in))
	c.put(names.Trust, "1", trust(names.Trust, c.ca.pem))

	c.put(web, "1", meshCluster(t))
	c.put(web, "1", endpoints(web, peerIP, webPort))
	c.put("san/shop/web", "1", trust("san/shop/web", c.ca.pem, spiffe("web")))
	c.put(web, "1", listener(web, vip, 80, webChain(t), false))
	c.put(web, "1", route("v1"))
}

func typed(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func address(ip string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: ip, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func ads() *corev3.ConfigSource {
	return &corev3.ConfigSource{ResourceApiVersion: corev3.ApiVersion_V3, ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}}
}

func sds(name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: ads()}
}

func original(name, source string) *clusterv3.Cluster {
	c := &clusterv3.Cluster{
		Name: name, LbPolicy: clusterv3.Cluster_CLUSTER_PROVIDED, ConnectTimeout: durationpb.New(time.Second),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST},
	}
	if source != "" {
		c.UpstreamBindConfig = &corev3.BindConfig{SourceAddress: address(source, 0).GetSocketAddress()}
	}
	return c
}

func meshCluster(t *testing.T) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name: web, ConnectTimeout: durationpb.New(time.Second),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:     &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads(), ServiceName: web},
		TransportSocket: &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: typed(t, &tlsv3.UpstreamTlsContext{
			Sni: names.SNIOf("shop", "web", 80),
			CommonTlsContext: &tlsv3.CommonTlsContext{
				TlsParams:                      tls13(),
				TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{sds(names.Identity)},
				ValidationContextType:          &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{ValidationContextSdsSecretConfig: sds("san/shop/web")},
			},
		})}},
	}
}

func tls13() *tlsv3.TlsParameters {
	return &tlsv3.TlsParameters{TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3}
}

func endpoints(name, ip string, port uint32) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: address(ip, port)}}}},
	}}}
}

func trust(name string, roots []byte, ids ...string) *tlsv3.Secret {
	v := &tlsv3.CertificateValidationContext{
		TrustedCa: &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: roots}},
	}
	for _, id := range ids {
		v.MatchTypedSubjectAltNames = append(v.MatchTypedSubjectAltNames, &tlsv3.SubjectAltNameMatcher{
			SanType: tlsv3.SubjectAltNameMatcher_URI,
			Matcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: id}},
		})
	}
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_ValidationContext{ValidationContext: v}}
}

func webChain(t *testing.T) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{Filters: []*listenerv3.Filter{manager(t, web, nil)}}
}

// route sends everything to web and marks answers with the version of the configuration.
func route(version string) *routev3.RouteConfiguration {
	return &routev3.RouteConfiguration{Name: web, VirtualHosts: []*routev3.VirtualHost{{
		Name: "web", Domains: []string{"*"}, Routes: []*routev3.Route{{
			Match:                &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
			Action:               &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: web}}},
			ResponseHeadersToAdd: []*corev3.HeaderValueOption{{Header: &corev3.HeaderValue{Key: "x-config", Value: version}}},
		}},
	}}}
}

// badRoute is refused by Envoy: its expression does not end.
func badRoute() *routev3.RouteConfiguration {
	r := route("bad")
	r.VirtualHosts[0].Routes[0].Match = &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_SafeRegex{SafeRegex: &matcherv3.RegexMatcher{Regex: "("}}}
	return r
}

func manager(t *testing.T, stat string, inline *routev3.RouteConfiguration) *listenerv3.Filter {
	h := &hcmv3.HttpConnectionManager{
		StatPrefix: stat,
		HttpFilters: []*hcmv3.HttpFilter{{
			Name: "envoy.filters.http.router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: typed(t, &routerv3.Router{})},
		}},
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{Rds: &hcmv3.Rds{ConfigSource: ads(), RouteConfigName: web}},
	}
	if inline != nil {
		h.RouteSpecifier = &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: inline}
	}
	return &listenerv3.Filter{Name: "hcm", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: typed(t, h)}}
}

func tcp(t *testing.T, cluster string) *listenerv3.Filter {
	return &listenerv3.Filter{Name: "tcp", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: typed(t, &tcpv3.TcpProxy{
		StatPrefix: cluster, ClusterSpecifier: &tcpv3.TcpProxy_Cluster{Cluster: cluster},
	})}}
}

func listener(name, ip string, port uint32, chain *listenerv3.FilterChain, bind bool) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name: name, Address: address(ip, port), BindToPort: wrapperspb.Bool(bind),
		TrafficDirection: corev3.TrafficDirection_OUTBOUND, DefaultFilterChain: chain,
	}
}

func outbound(t *testing.T) *listenerv3.Listener {
	l := listener(names.Outbound, "0.0.0.0", names.PortOutbound, &listenerv3.FilterChain{Filters: []*listenerv3.Filter{tcp(t, names.Passthrough)}}, true)
	l.UseOriginalDst = wrapperspb.Bool(true)
	return l
}

// inbound takes plaintext and the mesh's mutual TLS, and passes HTTP on to the application.
func inbound(t *testing.T, name string) *listenerv3.Listener {
	routes := func() *routev3.RouteConfiguration {
		r := route("inbound")
		r.VirtualHosts[0].Routes[0].Action = &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: names.InboundHTTP1}, Timeout: durationpb.New(0),
		}}
		return r
	}
	l := listener(name, "0.0.0.0", names.PortInbound, &listenerv3.FilterChain{Filters: []*listenerv3.Filter{manager(t, names.InboundHTTP1, routes())}}, true)
	l.TrafficDirection = corev3.TrafficDirection_INBOUND
	l.ListenerFilters = []*listenerv3.ListenerFilter{
		{Name: "original_dst", ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: typed(t, &originaldstv3.OriginalDst{})}},
		{Name: "tls_inspector", ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: typed(t, &tlsinspectorv3.TlsInspector{})}},
	}
	l.FilterChains = []*listenerv3.FilterChain{{
		FilterChainMatch: &listenerv3.FilterChainMatch{TransportProtocol: "tls"},
		Filters:          []*listenerv3.Filter{manager(t, names.InboundHTTP1, routes())},
		TransportSocket: &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: typed(t, &tlsv3.DownstreamTlsContext{
			RequireClientCertificate: wrapperspb.Bool(true),
			CommonTlsContext: &tlsv3.CommonTlsContext{
				TlsParams:                      tls13(),
				AlpnProtocols:                  []string{"h2", "http/1.1"},
				TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{sds(names.Identity)},
				ValidationContextType:          &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{ValidationContextSdsSecretConfig: sds(names.Trust)},
			},
		})}},
	}}
	return l
}
