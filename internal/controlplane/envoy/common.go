// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"strconv"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// Common makes the resources that are the same in every proxy: the listener of redirected outbound
// connections, and the clusters that are no Service's.
func Common(model.Settings) []Resource {
	return append([]Resource{
		outboundListener(),
		cluster(originalDestination(names.Passthrough)),
		closedCluster(names.Blackhole),
	}, inboundClusters()...)
}

// outboundListener takes every redirected connection and hands it to the listener of its original
// destination; what has none passes untouched. It has no inspector: those make server-first
// protocols wait.
func outboundListener() Resource {
	refs := refSet{}
	l := &listenerv3.Listener{
		Name:             names.Outbound,
		Address:          address(anyIPv4, names.PortOutbound),
		UseOriginalDst:   wrapperspb.Bool(true),
		TrafficDirection: corev3.TrafficDirection_OUTBOUND,
		FilterChains: []*listenerv3.FilterChain{
			loop(names.PortOutbound, refs),
			loop(names.PortInbound, refs),
		},
		DefaultFilterChain: &listenerv3.FilterChain{
			Name:    "passthrough",
			Filters: []*listenerv3.Filter{bytesTo(names.Passthrough, names.Passthrough, refs)},
		},
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
	}
	return listener(l, refs)
}

// loop closes connections whose destination is a port of the proxy itself: nobody was redirected
// there, so passing them on would come back here for ever.
func loop(port uint16, refs refSet) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name:             "loop-" + strconv.Itoa(int(port)),
		FilterChainMatch: &listenerv3.FilterChainMatch{DestinationPort: wrapperspb.UInt32(uint32(port))},
		Filters:          []*listenerv3.Filter{bytesTo(names.Blackhole, names.Blackhole, refs)},
	}
}

func originalDestination(name string) *clusterv3.Cluster {
	c := base(name)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST}
	c.LbPolicy = clusterv3.Cluster_CLUSTER_PROVIDED
	return c
}

// closedCluster has no endpoints: connections to it are closed.
func closedCluster(name string) Resource {
	c := base(name)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC}
	return cluster(c)
}

// toApplication goes to the original destination from names.InboundSource, by which the redirection
// knows that the connection has been through the inbound proxy already.
func toApplication(name string) *clusterv3.Cluster {
	c := originalDestination(name)
	c.UpstreamBindConfig = &corev3.BindConfig{SourceAddress: &corev3.SocketAddress{
		Address:       names.InboundSource,
		PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: 0},
	}}
	return c
}

func inboundHTTP1() Resource {
	c := toApplication(names.InboundHTTP1)
	c.TypedExtensionProtocolOptions = upstreamHTTP1(upstreamLimits(appIdle))
	return cluster(c)
}

func inboundHTTP2() Resource {
	c := toApplication(names.InboundHTTP2)
	c.TypedExtensionProtocolOptions = upstreamHTTP(upstreamLimits(appIdle), explicitHTTP2(upstreamStreams(appStreams)))
	return cluster(c)
}
