// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"encoding/json"

	"google.golang.org/protobuf/proto"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/virtualhost"
)

// RoutePartType is the type of RoutePart's resources.
const RoutePartType = protocol.RoutePartType

// RoutePart makes what one route has in a table of a Gateway, as JSON. Agents put the parts of a table
// together: see protocol.RoutePart.
func RoutePart(p model.RoutePart) Resource {
	refs := refSet{}
	out := protocol.RoutePart{Created: p.Created, Namespace: p.Namespace, Name: p.Name, Kind: p.Kind, Claims: p.Claims}
	for _, r := range p.Rules {
		var encoded [][]byte
		for _, route := range rule(r.Rule, refs) {
			encoded = append(encoded, marshal(route))
		}
		if len(encoded) > 0 {
			out.Rules = append(out.Rules, virtualhost.Rule[[][]byte]{Rank: r.Rank, Rule: encoded})
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		panic("envoy: a part that cannot be encoded: " + err.Error()) // a bug: strings, numbers and bytes always can
	}
	return Resource{
		TypeURL: RoutePartType, Name: names.RoutePart(p.Table, p.Kind, p.Namespace, p.Name), Raw: b, Refs: refs.sorted(),
	}
}

// routeShell is what the tables of Gateways have around their routes. What changes it is
// to raise tableRevision.
func routeShell() *protocol.RouteShell {
	return &protocol.RouteShell{
		Config: marshal(routeConfiguration("")), Host: marshal(virtualHost(nil, true)), Misdirected: marshal(elsewhere()),
	}
}

// marshal encodes a message of this package's own making, deterministically.
func marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic("envoy: a message that cannot be encoded: " + err.Error()) // a bug, e.g. a string that is not UTF-8
	}
	return b
}
