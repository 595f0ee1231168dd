// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// varyFilter is the name of the filter in the list and of its settings in a route.
const varyFilter = "envoy.filters.http.header_mutation"

// varyPlaces are the places of the CORS filter. The filter is disabled, and costs nothing, but for routes
// with settings for it.
func varyPlaces() []place { return corsPlaces() }

// originVaries is the value that is added to Vary. It is empty, and nothing is added, if the application's
// own Vary names Origin already, or is "*".
const originVaries = `%CEL("vary" in response.headers && response.headers["vary"].matches("(?i)(^|.*,)[ \t]*(origin|[*])[ \t]*(,.*|$)") ? "" : "Origin")%`

// corsConfig is what a route with a CORS policy has for filters. What its answers say depends on the
// request's Origin, also if there is none or it is not allowed, so a cache must keep them apart (Fetch,
// "CORS protocol and HTTP caches"): all of them have Vary, preflights and the proxy's own answers included.
func corsConfig(policy *anypb.Any) map[string]*anypb.Any {
	return map[string]*anypb.Any{
		corsFilter: policy,
		varyFilter: typed(&headermutationv3.HeaderMutationPerRoute{Mutations: &headermutationv3.Mutations{
			ResponseMutations: []*mutationv3.HeaderMutation{{Action: &mutationv3.HeaderMutation_Append{
				Append: &corev3.HeaderValueOption{
					Header:       &corev3.HeaderValue{Key: "vary", Value: originVaries},
					AppendAction: corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD,
				},
			}}},
		}}),
	}
}
