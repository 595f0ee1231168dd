// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	udpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/udp/udp_proxy/v3"
	networkv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/common_inputs/network/v3"
	fractionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/matching/input_matchers/runtime_fraction/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// udpIdle is how long a client address and its backend belong together without a datagram.
const udpIdle = time.Minute

// gatewayUDP makes the listener of a Gateway's UDP port. Envoy has no weights for datagrams, so the
// shares are laid side by side on a line, and where the hash of the client's port falls decides. A
// client's datagrams stay together as long as they come without a pause of udpIdle.
func gatewayUDP(g model.GatewayPort) Resource {
	refs := refSet{}
	name := names.GatewayUDPPort(g.Gateway.Namespace, g.Gateway.Name, g.Port)
	l := &listenerv3.Listener{
		Name:              name,
		Address:           datagrams(address(anyIPv4, g.Port)),
		TrafficDirection:  corev3.TrafficDirection_INBOUND,
		UdpListenerConfig: &listenerv3.UdpListenerConfig{},
	}
	if g.IPv6 {
		l.AdditionalAddresses = []*listenerv3.AdditionalAddress{{Address: datagrams(address(anyIPv6, g.Port))}}
	}
	p := &udpv3.UdpProxyConfig{
		StatPrefix:  name,
		IdleTimeout: duration(udpIdle),
		// Nothing matches: dropped.
		RouteSpecifier: &udpv3.UdpProxyConfig_Matcher{Matcher: &xdsmatcherv3.Matcher{}},
	}
	if len(g.Sections) > 0 && len(g.Sections[0].Streams) > 0 {
		s := g.Sections[0].Streams[0]
		p.RouteSpecifier = &udpv3.UdpProxyConfig_Matcher{Matcher: shares(name, s.Backends, refs)}
		if s.Affinity {
			p.HashPolicies = []*udpv3.UdpProxyConfig_HashPolicy{{PolicySpecifier: &udpv3.UdpProxyConfig_HashPolicy_SourceIp{SourceIp: true}}}
		}
	}
	l.ListenerFilters = []*listenerv3.ListenerFilter{listenerFilter("envoy.filters.udp_listener.udp_proxy", p)}
	return listener(l, refs)
}

func datagrams(a *corev3.Address) *corev3.Address {
	a.GetSocketAddress().Protocol = corev3.SocketAddress_UDP
	return a
}

// shares sends to each backend by its weight. What falls to invalid backends, which are last on the
// line, is dropped.
func shares(name string, backends []model.WeightedBackend, refs refSet) *xdsmatcherv3.Matcher {
	total, usable := uint64(0), 0
	for _, b := range backends {
		total += uint64(b.Weight)
		if b.Weight > 0 && !b.Invalid {
			usable++
		}
	}
	list := &xdsmatcherv3.Matcher_MatcherList{}
	m := &xdsmatcherv3.Matcher{}
	sum := uint64(0)
	for _, b := range backends {
		if b.Weight == 0 || b.Invalid {
			continue
		}
		sum += uint64(b.Weight)
		to := &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
			Action: extension("route", &udpv3.Route{Cluster: refs.cluster(backendName(b))}),
		}}
		if usable--; usable == 0 && sum == total {
			m.OnNoMatch = to // the last, to the end of the line
			break
		}
		list.Matchers = append(list.Matchers, &xdsmatcherv3.Matcher_MatcherList_FieldMatcher{
			Predicate: below(name, uint32(sum*million/total)), OnMatch: to,
		})
	}
	if len(list.GetMatchers()) > 0 {
		m.MatcherType = &xdsmatcherv3.Matcher_MatcherList_{MatcherList: list}
	}
	return m
}

// below matches where the hash of the client's port falls below a place on the line. The key is no
// runtime setting that anybody makes; the field must be set.
func below(name string, place uint32) *xdsmatcherv3.Matcher_MatcherList_Predicate {
	return &xdsmatcherv3.Matcher_MatcherList_Predicate{MatchType: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_{
		SinglePredicate: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate{
			Input: extension("source_port", &networkv3.SourcePortInput{}),
			Matcher: &xdsmatcherv3.Matcher_MatcherList_Predicate_SinglePredicate_CustomMatch{
				CustomMatch: extension("envoy.matching.matchers.runtime_fraction", &fractionv3.RuntimeFraction{
					RuntimeFraction: &corev3.RuntimeFractionalPercent{
						DefaultValue: &typev3.FractionalPercent{Numerator: place, Denominator: typev3.FractionalPercent_MILLION},
						RuntimeKey:   "tulle." + name,
					},
				}),
			},
		},
	}}
}

func extension(name string, config proto.Message) *xdscorev3.TypedExtensionConfig {
	return &xdscorev3.TypedExtensionConfig{Name: name, TypedConfig: typed(config)}
}
