// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"slices"

	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
)

// place is where an HTTP connection manager stands.
type place int

const (
	outbound place = iota // beside a client, behind PortOutbound
	inbound               // beside a server, behind PortInbound
	edge                  // a gateway: clients of the outside world
)

// httpFilters is the one ordered list of HTTP filters, with the reason for each position. Requests
// pass it from top to bottom, responses from bottom to top.
func httpFilters(p place) []*hcmv3.HttpFilter {
	ordered := []struct {
		name   string
		in     []place
		config proto.Message
		// disabled filters take part in requests of routes that have settings for them, and no others.
		disabled bool
	}{
		// First, because nothing that follows is asked with a path that has two meanings.
		{dotsFilter, dotsPlaces(), denyDotSegments(), false},
		// Before the filter that answers preflights, because those answers vary as well.
		{varyFilter, varyPlaces(), &headermutationv3.HeaderMutation{}, true},
		// Before what sends, because a browser asks without the credentials and headers that what follows may want.
		// Without a policy in the route it does nothing.
		{corsFilter, corsPlaces(), &corsv3.Cors{}, false},
		// Last, because it is the one that sends the request on. It adds none of Envoy's own
		// x-envoy-* headers: neither applications nor clients of a gateway asked for them.
		{"envoy.filters.http.router", []place{outbound, inbound, edge}, &routerv3.Router{SuppressEnvoyHeaders: true}, false},
	}
	var out []*hcmv3.HttpFilter
	for _, f := range ordered {
		if slices.Contains(f.in, p) {
			out = append(out, &hcmv3.HttpFilter{
				Name:       f.name,
				Disabled:   f.disabled,
				ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: typed(f.config)},
			})
		}
	}
	return out
}
