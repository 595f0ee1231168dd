// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"cmp"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"tulle.dev/tulle/internal/controlplane/model"
)

// The metadata that tells endpoints with a proxy from those without.
const (
	socketMatch = "envoy.transport_socket_match" // Envoy's own namespace for transport_socket_matches
	matchKey    = "tulle"
	matchMTLS   = "mtls"
)

// Endpoints makes a Service port's ClusterLoadAssignment. Its name is the cluster's. An address that
// stands twice counts once.
func Endpoints(e model.Endpoints) Resource {
	list := slices.Clone(e.List)
	slices.SortStableFunc(list, func(a, b model.Endpoint) int {
		return cmp.Or(cmp.Compare(a.Zone, b.Zone), a.Addr.Compare(b.Addr))
	})
	list = slices.CompactFunc(list, func(a, b model.Endpoint) bool { return a.Addr == b.Addr && a.Zone == b.Zone })
	a := &endpointv3.ClusterLoadAssignment{ClusterName: clusterName(model.BackendName{Key: e.Key, Node: e.Node, As: e.As, Via: e.Via})}
	var zone *endpointv3.LocalityLbEndpoints
	withProxy := &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{socketMatch: fields(matchKey, matchMTLS)}} // shared by all
	for _, ep := range list {
		if zone == nil || zone.GetLocality().GetZone() != ep.Zone {
			zone = &endpointv3.LocalityLbEndpoints{}
			if ep.Zone != "" {
				zone.Locality = &corev3.Locality{Zone: ep.Zone}
			}
			a.Endpoints = append(a.Endpoints, zone)
		}
		zone.LbEndpoints = append(zone.LbEndpoints, endpoint(ep, withProxy))
	}
	return endpoints(a)
}

func endpoint(ep model.Endpoint, withProxy *corev3.Metadata) *endpointv3.LbEndpoint {
	lb := &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
		Endpoint: &endpointv3.Endpoint{Address: address(ep.Addr.Addr().String(), ep.Addr.Port())},
	}}
	if ep.Meshed {
		lb.Metadata = withProxy
	}
	return lb
}
