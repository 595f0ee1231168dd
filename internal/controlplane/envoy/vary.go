// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	headermutationv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/header_mutation/v3"
	"google.golang.org/protobuf/proto"

	"tulle.dev/tulle/internal/controlplane/model"
)

// vary has caches keep apart what routes with a CORS policy answer: that depends on the request's Origin, also if
// there is none or it is not allowed (Fetch, "CORS protocol and HTTP caches"). All answers have Vary, preflights and
// the proxy's own included. For other routes the filter is disabled, and costs nothing.
func vary() httpFilter {
	return httpFilter{
		name: "envoy.filters.http.header_mutation", in: []place{outbound, edge}, disabled: true,
		config: func() proto.Message { return &headermutationv3.HeaderMutation{} },
		perRoute: func(r model.Rule) proto.Message {
			if r.CORS == nil {
				return nil
			}
			return &headermutationv3.HeaderMutationPerRoute{Mutations: &headermutationv3.Mutations{
				ResponseMutations: []*mutationv3.HeaderMutation{{Action: &mutationv3.HeaderMutation_Append{
					Append: &corev3.HeaderValueOption{
						Header:       &corev3.HeaderValue{Key: "vary", Value: originVaries},
						AppendAction: corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD,
					},
				}}},
			}}
		},
	}
}

// originVaries is the value that is added to Vary. It is empty, and nothing is added, if the application's
// own Vary names Origin already, or is "*".
const originVaries = `%CEL("vary" in response.headers && response.headers["vary"].matches("(?i)(^|.*,)[ \t]*(origin|[*])[ \t]*(,.*|$)") ? "" : "Origin")%`
