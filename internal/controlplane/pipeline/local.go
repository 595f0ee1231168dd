// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"encoding/json"
	"iter"
	"slices"
	"strings"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// Clients of a Service with internalTrafficPolicy Local use the endpoints of their own node. There are two ways to
// configure this. A port may have variants: a listener, a table and clusters for each node. Agents of 0.2.0 have
// them, and to change the names of their listeners would end connections, so the first ports of a Service keep them.
// All other ports have one of each for all clients, and clusters whose endpoints depend on the client's node
// (names.OwnNode). Otherwise one Service of 500 ports would make 100,000 resources in a cluster of 40 nodes.
const (
	// nodePlaces is how many places the ports of a Service that have variants may take together.
	nodePlaces = 16
	// tablePlace is how many bytes of a port's table take a place.
	tablePlace = 4096
)

// buildNodes finds the nodes that have clients.
func (g *Graph) buildNodes() {
	meshedOn := incr.NewIndex(g.in.workloads, byKey, func(_ model.Key, w model.Workload) []string {
		if (w.Kind == names.KindSidecar || w.Kind == names.KindClient) && !w.Ended {
			return some(w.Node)
		}
		return nil
	})
	nodes := incr.DeriveKeys(&g.engine, "nodes", same[string], func(_ *incr.Reader, n string, emit func(string, string)) { emit(n, n) }, meshedOn)
	g.services.nodes = incr.NewIndex(nodes, strings.Compare, func(string, string) []one { return []one{{}} })
}

// buildLocal lists the ports of Services with internalTrafficPolicy Local, with whether they have variants for nodes.
func (g *Graph) buildLocal(frontends *incr.Collection[string, frontend]) {
	g.services.local = incr.Derive(&g.engine, "local ports", frontends, same[bool],
		func(_ *incr.Reader, _ string, f frontend, emit func(model.PortKey, bool)) {
			if f.Local || f.ownNode {
				emit(f.Key, f.Local)
			}
		})
}

// places is how many places the variants of a frontend take.
func (f frontend) places() int {
	if f.streams == nil && (f.table == nil || isUnrouted(*f.table)) {
		return 1
	}
	b, err := json.Marshal([]any{f.table, f.streams})
	if err != nil {
		return nodePlaces + 1
	}
	return 1 + len(b)/tablePlace
}

// isUnrouted reports whether a table is gatewayapi.UnroutedTable.
func isUnrouted(t model.RouteTable) bool {
	return !slices.ContainsFunc(t.Hosts, func(h model.VirtualHost) bool {
		return len(h.Rules) != 1 || h.Rules[0].Source.Kind != gatewayapi.KindService
	})
}

// onNode is the frontend for clients of one node, where the Service's own endpoints are the node's.
func (f frontend) onNode(node string) frontend {
	f.Node, f.Local = node, false
	f.Backends = slices.Clone(f.Backends)
	for i := range f.Backends {
		f.Backends[i].Node = node
	}
	if f.table != nil {
		t := gatewayapi.ForNode(*f.table, f.Key, node)
		f.table = &t
	}
	if f.streams != nil {
		t := gatewayapi.StreamsForNode(*f.streams, f.Key, node)
		f.streams = &t
	}
	return f
}

// onOwnNode is the frontend for all clients, where the Service's own endpoints are those of the client's node.
func (f frontend) onOwnNode() frontend {
	f = f.onNode(names.OwnNode)
	f.Node, f.ownNode = "", true
	if f.table != nil {
		f.table.Name = f.name()
	}
	if f.streams != nil {
		f.streams.Name = f.name()
	}
	return f
}

// variants are the nodes in the names of a port's clusters: "" for the one that Gateways have, and the clients of a
// Service without internalTrafficPolicy Local.
func (g *Graph) variants(r *incr.Reader, port model.PortKey) []string {
	out := []string{""}
	switch perNode, local := incr.Get(r, g.services.local, port); {
	case perNode:
		incr.Lookup(r, g.services.nodes, one{}, func(node, _ string) { out = append(out, node) })
	case local:
		out = append(out, names.OwnNode)
	}
	return out
}

// endpointsOf are the endpoints of a port for each of its variants.
func (g *Graph) endpointsOf(r *incr.Reader, service model.Key, p model.ResolvedPort) iter.Seq[model.Endpoints] {
	return func(yield func(model.Endpoints) bool) {
		var byNode map[string][]model.Endpoint
		for _, node := range g.variants(r, model.PortKey{Service: service, Port: p.Port.Port}) {
			var list model.Endpoints
			switch node {
			case "", names.OwnNode:
				list = p.On(service, node)
			default:
				if byNode == nil {
					byNode = p.ByNode()
				}
				list = model.Endpoints{Key: model.PortKey{Service: service, Port: p.Port.Port}, Node: node, List: byNode[node]}
			}
			if !yield(list) {
				return
			}
		}
	}
}
