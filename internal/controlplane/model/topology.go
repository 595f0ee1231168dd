// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import (
	"cmp"
	"maps"
	"slices"

	"tulle.dev/tulle/internal/names"
)

// Place is where a client is, as far as the hints of EndpointSlices tell places apart: a node or a zone; or that it is
// the proxy of a Gateway. Exactly one field is set.
type Place struct {
	Node, Zone string
	Gateway    bool
}

// String spells node/NODE, zone/ZONE or gateway.
func (p Place) String() string {
	if p.Gateway {
		return "gateway"
	}
	if p.Node != "" {
		return "node/" + p.Node
	}
	return "zone/" + p.Zone
}

// Places are those of a client, the one that takes precedence first: what is made for Gateways comes before all
// hints, and hints for nodes before hints for zones (KEP-3015). A node or zone that is not known is empty and left out.
func Places(gateway bool, node, zone string) []Place {
	var out []Place
	if gateway {
		out = append(out, Place{Gateway: true})
	}
	if node != "" {
		out = append(out, Place{Node: node})
	}
	if zone != "" {
		out = append(out, Place{Zone: zone})
	}
	return out
}

// NodeZone is a node as far as clients' places depend on it.
type NodeZone struct {
	Name string
	// Zone is the node's label topology.kubernetes.io/zone; empty if it has none.
	Zone string
}

// placed keeps of a port what its Service chooses endpoints by: with internalTrafficPolicy Local the
// client's node, and else the hints.
func (p ResolvedPort) placed(local bool) ResolvedPort {
	if !local {
		p.Ending = nil
		return p
	}
	p.Endpoints = slices.Clone(p.Endpoints)
	for i := range p.Endpoints {
		p.Endpoints[i].Hints = nil
	}
	return p
}

// On returns the port's endpoints for clients of a node, where internalTrafficPolicy is Local; the empty
// node means any, and names.OwnNode each client's own, whose endpoints are then in Near. On a node without a ready endpoint its terminating ones count, as for kube-proxy,
// whatever other nodes have.
func (p ResolvedPort) On(service Key, node string) Endpoints {
	out := Endpoints{Key: PortKey{service, p.Port.Port}, Node: node}
	if node == "" {
		out.List, out.Near = usable(p.Endpoints, nil), near(p.Endpoints)
		if slices.ContainsFunc(p.Endpoints, func(e ResolvedEndpoint) bool { return e.Withheld }) {
			rest := usable(p.Endpoints, func(e ResolvedEndpoint) bool { return !e.Withheld }) // hints of fewer endpoints mean nothing
			out.Near = slices.Insert(out.Near, 0, NearEndpoints{Place{Gateway: true}, rest})
		}
		return out
	}
	if node == names.OwnNode {
		for n, list := range p.ByNode() {
			out.Near = append(out.Near, NearEndpoints{Place{Node: n}, list})
		}
		slices.SortFunc(out.Near, func(a, b NearEndpoints) int { return cmp.Compare(a.Place.Node, b.Place.Node) })
		return out
	}
	here := func(e ResolvedEndpoint) bool { return e.Node == node }
	if out.List = usable(p.Endpoints, here); len(out.List) == 0 {
		out.List = usable(p.Ending, here)
	}
	return out
}

// ByNode returns, for each node with endpoints, what On returns for that node.
func (p ResolvedPort) ByNode() map[string][]Endpoint {
	byNode := func(endpoints []ResolvedEndpoint) map[string][]Endpoint {
		out := map[string][]Endpoint{}
		for _, e := range endpoints {
			if e.Node != "" {
				out[e.Node] = append(out[e.Node], e.endpoint())
			}
		}
		return out
	}
	out := byNode(p.Ending)
	maps.Copy(out, byNode(p.Endpoints))
	return out
}

// near follows the hints of the endpoints in use, by kube-proxy's rules (KEP-2433, KEP-3015):
//
//   - If every endpoint has a hint for nodes, clients on a node that a hint names use those endpoints.
//   - Otherwise, if every endpoint has a hint for zones, clients in a zone that a hint names use those.
//   - Otherwise clients use all, without regard to hints.
//
// Where no endpoint is ready the terminating ones are in use, which have no hints here: all clients use
// all of them. A zone whose clients use all is left out.
func near(endpoints []ResolvedEndpoint) []NearEndpoints {
	nodes, zones := hinted(endpoints, (*Hints).nodes), hinted(endpoints, (*Hints).zones)
	var out []NearEndpoints
	for node, list := range nodes {
		out = append(out, NearEndpoints{Place: Place{Node: node}, List: list})
	}
	for zone, list := range zones {
		if len(list) < len(endpoints) {
			out = append(out, NearEndpoints{Place: Place{Zone: zone}, List: list})
		}
	}
	slices.SortFunc(out, func(a, b NearEndpoints) int {
		return cmp.Or(cmp.Compare(a.Place.Node, b.Place.Node), cmp.Compare(a.Place.Zone, b.Place.Zone))
	})
	return out
}

// hinted lists the endpoints for each name in their hints of one kind; nothing if any has none.
func hinted(endpoints []ResolvedEndpoint, of func(*Hints) []string) map[string][]Endpoint {
	var out map[string][]Endpoint
	for _, e := range endpoints {
		names := of(e.Hints)
		if len(names) == 0 {
			return nil
		}
		if out == nil {
			out = map[string][]Endpoint{}
		}
		for _, name := range names {
			out[name] = append(out[name], e.endpoint())
		}
	}
	return out
}

func (h *Hints) zones() []string {
	if h == nil {
		return nil
	}
	return h.Zones
}

func (h *Hints) nodes() []string {
	if h == nil {
		return nil
	}
	return h.Nodes
}

func usable(endpoints []ResolvedEndpoint, choose func(ResolvedEndpoint) bool) []Endpoint {
	var out []Endpoint
	for _, e := range endpoints {
		if choose == nil || choose(e) {
			out = append(out, e.endpoint())
		}
	}
	return out
}

func (e ResolvedEndpoint) endpoint() Endpoint {
	return Endpoint{Addr: e.Addr, Meshed: e.Meshed, Zone: e.Zone}
}
