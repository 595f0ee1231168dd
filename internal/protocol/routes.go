// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package protocol

import "tulle.dev/tulle/internal/virtualhost"

// RoutePartType is the xDS type URL of RoutePart. The value of the Any is RoutePart as JSON.
const RoutePartType = "type.googleapis.com/tulle.v1.RoutePart"

// RoutePart is what one route has in a RouteConfiguration of a Gateway. Envoy's own unit is the whole
// configuration, or a virtual host (VHDS): both have the rules of many routes. A rule is one or more
// encoded envoy.config.route.v3.Route.
type RoutePart = virtualhost.Part[[][]byte]

// RouteTable is a RouteConfiguration of that name, made of parts of those names.
type RouteTable struct {
	Name string `json:"name"`
	virtualhost.Table
	Parts []string `json:"parts,omitempty"`
}

// RouteShell is what the RouteConfigurations of a scope have in common, all of it encoded.
type RouteShell struct {
	// Config is a RouteConfiguration without name and virtual hosts.
	Config []byte `json:"config"`
	// Host is a VirtualHost without name, domains and routes.
	Host []byte `json:"host"`
	// Misdirected is the one Route of virtual hosts whose requests belong elsewhere.
	Misdirected []byte `json:"misdirected"`
}
