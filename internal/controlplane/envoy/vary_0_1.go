// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import "google.golang.org/protobuf/types/known/anypb"

const varyFilter = "envoy.filters.http.header_mutation"

// varyPlaces: none has the filter.
func varyPlaces() []place { return nil }

// corsConfig is what a route with a CORS policy has for filters.
func corsConfig(policy *anypb.Any) map[string]*anypb.Any {
	return map[string]*anypb.Any{corsFilter: policy}
}
