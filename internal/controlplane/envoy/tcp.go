// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// connectAttempts to different endpoints before a TCP connection is given up. Nothing was sent before it stands.
const connectAttempts = 5

// bytesTo is the network filter that passes bytes on to a cluster.
func bytesTo(stat, cluster string, refs refSet) *listenerv3.Filter {
	p := tcpProxy(stat)
	p.ClusterSpecifier = &tcpv3.TcpProxy_Cluster{Cluster: refs.cluster(cluster)}
	return tcpFilter(p)
}

// bytesToAny splits connections by weight. The share of an invalid backend, and everything if no
// weight is left, is closed.
func bytesToAny(stat string, backends []model.WeightedBackend, affinity bool, refs refSet) *listenerv3.Filter {
	p := tcpProxy(stat)
	if affinity {
		p.HashPolicy = []*typev3.HashPolicy{{
			PolicySpecifier: &typev3.HashPolicy_SourceIp_{SourceIp: &typev3.HashPolicy_SourceIp{}},
		}}
	}
	var shares []*tcpv3.TcpProxy_WeightedCluster_ClusterWeight
	for _, b := range backends {
		if b.Weight == 0 {
			continue
		}
		name := names.Blackhole
		if !b.Invalid {
			name = backendName(b)
		}
		shares = append(shares, &tcpv3.TcpProxy_WeightedCluster_ClusterWeight{Name: refs.cluster(name), Weight: b.Weight})
	}
	switch len(shares) {
	case 0:
		p.ClusterSpecifier = &tcpv3.TcpProxy_Cluster{Cluster: refs.cluster(names.Blackhole)}
	case 1:
		p.ClusterSpecifier = &tcpv3.TcpProxy_Cluster{Cluster: shares[0].GetName()}
	default:
		p.ClusterSpecifier = &tcpv3.TcpProxy_WeightedClusters{WeightedClusters: &tcpv3.TcpProxy_WeightedCluster{Clusters: shares}}
	}
	return tcpFilter(p)
}

func tcpProxy(stat string) *tcpv3.TcpProxy {
	return &tcpv3.TcpProxy{
		StatPrefix: stat,
		// Connections may be silent for as long as they like: database pools, message queues.
		IdleTimeout:        duration(0),
		MaxConnectAttempts: wrapperspb.UInt32(connectAttempts),
	}
}

// tcpProxyType is the type of the filter's configuration.
const tcpProxyType = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"

func tcpFilter(p *tcpv3.TcpProxy) *listenerv3.Filter {
	return &listenerv3.Filter{
		Name:       "envoy.filters.network.tcp_proxy",
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: typed(p)},
	}
}
