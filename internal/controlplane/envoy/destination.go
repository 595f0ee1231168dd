// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	statev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/set_filter_state/v3"
	setv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/set_filter_state/v3"
	tcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	rawv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// demandTimeout is how long a connection waits for its cluster. The agent answers much earlier: if the
// control plane does not, with a cluster of its own.
const demandTimeout = 15 * time.Second

// DemandChain makes a filter chain that agents add to the listener of redirected outbound connections.
// A connection to one of the prefixes that has no listener goes to the cluster of its destination
// (names.Destination), for which Envoy asks if it does not have it. It has no inspector, so that servers
// may speak first.
func DemandChain(d model.DemandChain) *listenerv3.FilterChain {
	m := &listenerv3.FilterChainMatch{}
	for _, p := range d.Prefixes {
		m.PrefixRanges = append(m.PrefixRanges, &corev3.CidrRange{
			AddressPrefix: p.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(p.Bits())), //nolint:gosec // 0 to 128
		})
	}
	p := tcpProxy(names.Passthrough)
	// Not used: the filter state decides.
	p.ClusterSpecifier = &tcpv3.TcpProxy_Cluster{Cluster: names.Passthrough}
	// For the clusters that want session affinity.
	p.HashPolicy = []*typev3.HashPolicy{{PolicySpecifier: &typev3.HashPolicy_SourceIp_{SourceIp: &typev3.HashPolicy_SourceIp{}}}}
	p.OnDemand = &tcpv3.TcpProxy_OnDemand{OdcdsConfig: ads(), Timeout: duration(demandTimeout)}
	return &listenerv3.FilterChain{
		Name:             d.Name,
		FilterChainMatch: m,
		Filters: []*listenerv3.Filter{
			{
				Name: "envoy.filters.network.set_filter_state",
				ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: typed(&setv3.Config{OnNewConnection: []*statev3.FilterStateValue{{
					Key: &statev3.FilterStateValue_ObjectKey{ObjectKey: "envoy.tcp_proxy.cluster"},
					Value: &statev3.FilterStateValue_FormatString{FormatString: &corev3.SubstitutionFormatString{
						Format: &corev3.SubstitutionFormatString_TextFormatSource{TextFormatSource: inline(names.DestinationFormat)},
					}},
				}}})},
			},
			tcpFilter(p),
		},
	}
}

// DestinationCluster makes the cluster of an address that has no listener: to a meshed pod, or a Service
// all of whose endpoints are meshed, over mutual TLS, to a Service's endpoints as their transport says, and anything else untouched. The endpoints are a
// Service port's own: agents send those along, since Envoy does not ask twice for what it has. What is carried is
// bytes to this proxy; the server's knows what its port speaks (names.ALPNAny).
func DestinationCluster(d model.Destination) Resource {
	name := names.Destination(d.Addr)
	if d.Closed {
		return closedCluster(name)
	}
	if d.Service == (model.PortKey{}) || d.Original {
		c := originalDestination(name)
		switch {
		case d.Original:
			c.TransportSocket = toServer(names.SNIAddress, names.SAN(d.Service.Service.Namespace, d.Service.Service.Name), directALPN())
		case d.Account != (model.Key{}):
			c.TransportSocket = toAccount(d.Account, directALPN()...)
		}
		return cluster(c)
	}
	c := base(name)
	c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
	c.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: ads(), ServiceName: name}
	if !d.Local {
		c.EdsClusterConfig.ServiceName = clusterName(model.BackendName{Key: d.Service})
	}
	c.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
	if d.Affinity {
		c.LbPolicy = clusterv3.Cluster_RING_HASH
	}
	peer := toPeer(d.Service, directALPN()...)
	if d.Transport == model.Mixed {
		c.TransportSocketMatches = []*clusterv3.Cluster_TransportSocketMatch{
			{Name: "mtls", Match: fields(matchKey, matchMTLS), TransportSocket: peer},
			{Name: "plaintext", Match: fields(), TransportSocket: socket("envoy.transport_sockets.raw_buffer", &rawv3.RawBuffer{})},
		}
	} else {
		c.TransportSocket = peer
	}
	return cluster(c)
}

// DestinationEndpoints makes the ClusterLoadAssignment of a destination that is a Service's on one node. All
// others share the Service port's.
func DestinationEndpoints(d model.Destination) Resource {
	a := proto.CloneOf(Endpoints(d.Endpoints).Message.(*endpointv3.ClusterLoadAssignment))
	a.ClusterName = names.Destination(d.Addr)
	return endpoints(a)
}

// AccountSecret makes the Secret with which clients check a pod that they reach by its address.
func AccountSecret(p model.AccountPeer) Resource {
	return validation(names.Account(p.Account.Namespace, p.Account.Name), p.Roots,
		[]*matcherv3.StringMatcher{{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: p.Identity}}})
}
