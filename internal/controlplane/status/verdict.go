// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package status

import "tulle.dev/tulle/internal/controlplane/gatewayapi"

// RouteVerdict is what is known of a route without the proxies: its status, and per parent what the
// proxies must acknowledge.
type RouteVerdict struct {
	// Generation of the route that was judged.
	Generation int64
	Parents    []gatewayapi.RouteParent
	// Needs has one requirement for each of Parents.
	Needs []Requirement
}

// ListenerSetVerdict is the same for a ListenerSet: what it needs is what its Gateway needs.
type ListenerSetVerdict struct {
	Generation int64
	gatewayapi.ListenerSetVerdict
	Need Requirement
}

// GatewayVerdict is the same for a Gateway.
type GatewayVerdict struct {
	Generation int64
	gatewayapi.GatewayVerdict
	// Addresses are those by which clients reach the Service made for the Gateway.
	Addresses []string
	// ClusterAddresses are the cluster addresses of that Service.
	ClusterAddresses []string
	Need             Requirement
}
