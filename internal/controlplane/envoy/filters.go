// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"slices"

	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"tulle.dev/tulle/internal/controlplane/model"
)

// place is where an HTTP connection manager stands.
type place int

const (
	outbound place = iota // beside a client, behind PortOutbound
	inbound               // beside a server, behind PortInbound
	edge                  // a gateway: clients of the outside world
)

// httpFilter is one HTTP filter. Each is in a file of its own.
type httpFilter struct {
	// name is that of the filter in the list, and of its settings in a route.
	name string
	// in are the places that have the filter, whether a route uses it or not: to add it with the first route that
	// does would drain the connections of all the others.
	in     []place
	config func() proto.Message
	// disabled filters take part in requests of routes that have settings for them, and no others.
	disabled bool
	// perRoute returns the settings for requests of a rule, nil if there are none. If it is nil, the filter has none.
	perRoute func(model.Rule) proto.Message
}

// httpFilters is the one ordered list of HTTP filters, with the reason for each position. Requests pass it from top
// to bottom, responses from bottom to top.
func httpFilters() []httpFilter {
	return []httpFilter{
		// First, because nothing that follows is asked with a path that has two meanings.
		pathGuard(),
		// Before the filter that answers preflights, because those answers vary as well.
		vary(),
		// Before what sends, because a browser asks without the credentials and headers that what follows may want.
		cors(),
		// Last, because it is the one that sends the request on.
		router(),
	}
}

// router adds none of Envoy's own x-envoy-* headers: neither applications nor clients of a gateway asked for them.
func router() httpFilter {
	return httpFilter{
		name: "envoy.filters.http.router", in: []place{outbound, inbound, edge},
		config: func() proto.Message { return &routerv3.Router{SuppressEnvoyHeaders: true} },
	}
}

// filtersAt are the filters of a place.
func filtersAt(p place) []*hcmv3.HttpFilter {
	var out []*hcmv3.HttpFilter
	for _, f := range httpFilters() {
		if slices.Contains(f.in, p) {
			out = append(out, &hcmv3.HttpFilter{
				Name:       f.name,
				Disabled:   f.disabled,
				ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: typed(f.config())},
			})
		}
	}
	return out
}

// filterSettings are what the filters have in the route of a rule, by name; nil if none has anything.
func filterSettings(r model.Rule) map[string]*anypb.Any {
	var out map[string]*anypb.Any
	for _, f := range httpFilters() {
		if f.perRoute == nil {
			continue
		}
		if s := f.perRoute(r); s != nil {
			if out == nil {
				out = map[string]*anypb.Any{}
			}
			out[f.name] = typed(s)
		}
	}
	return out
}
