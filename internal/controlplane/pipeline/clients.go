// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"
	"slices"
	"strings"

	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// clients is what clients without a proxy get. It is made for what they ask for, and costs nothing where
// nobody does: everything hangs from the input asked.
type clients struct {
	targets   *incr.Collection[names.Target, model.ClientTarget]
	tables    *incr.Collection[string, model.RouteTable]    // by the name that the table has for proxies
	backends  *incr.Collection[string, model.ClientBackend] // and so on
	endpoints *incr.Collection[string, model.ClientEndpoints]
	invalid   *incr.Index[bool, string, model.RouteTable] // tables by whether a backend of theirs is invalid
}

func (g *Graph) buildClients() {
	e, s, c := &g.engine, &g.services, &g.clients
	c.targets = incr.Derive(e, "client targets", g.in.asked, same[model.ClientTarget],
		func(r *incr.Reader, t names.Target, _ one, emit func(names.Target, model.ClientTarget)) {
			port, ok := t.Service()
			if !ok {
				return
			}
			if table := g.tableFor(r, port, t); table != "" {
				emit(t, model.ClientTarget{Name: t.String(), Host: t.Host, Table: table})
			}
		})
	byTable := incr.NewIndex(c.targets, byName, func(_ names.Target, t model.ClientTarget) []string { return []string{t.Table} })
	c.tables = incr.DeriveKeys(e, "client tables", same[model.RouteTable],
		func(r *incr.Reader, name string, emit func(string, model.RouteTable)) {
			if t, ok := incr.Get(r, s.tables, name); ok {
				emit(name, t)
			} else if port, err := names.ParseOut(name); err == nil {
				emit(name, headlessTable(port)) // tableFor names no other
			}
		}, byTable)
	byBackend := incr.NewIndex(c.tables, strings.Compare, func(_ string, t model.RouteTable) []string {
		var out []string
		for _, b := range t.Backends(model.Object{}) {
			if b.Via == (model.Via{}) { // a program begins no TLS but that of the mesh
				out = append(out, clusterOf(b))
			}
		}
		return out
	})
	c.invalid = incr.NewIndex(c.tables, strings.Compare, func(_ string, t model.RouteTable) []bool {
		return []bool{slices.ContainsFunc(t.Hosts, func(h model.VirtualHost) bool {
			return slices.ContainsFunc(h.Rules, func(rule model.Rule) bool {
				return slices.ContainsFunc(rule.Backends, func(b model.WeightedBackend) bool { return b.Invalid })
			})
		})}
	})
	c.backends = incr.DeriveKeys(e, "client backends", same[model.ClientBackend],
		func(r *incr.Reader, name string, emit func(string, model.ClientBackend)) {
			if b, ok := incr.Get(r, s.backends, name); ok {
				peers, _ := incr.Get(r, s.peers, b.Key.Service)
				emit(name, model.ClientBackend{Backend: b, Identities: peers.Identities})
			}
		}, byBackend)
	c.endpoints = incr.DeriveKeys(e, "client endpoints", same[model.ClientEndpoints],
		func(r *incr.Reader, name string, emit func(string, model.ClientEndpoints)) {
			b, there := incr.Get(r, s.backends, name)
			if list, ok := incr.Get(r, s.endpoints, name); ok && there {
				list.Near = slices.DeleteFunc(slices.Clone(list.Near), func(n model.NearEndpoints) bool { return n.Place.Gateway })
				emit(name, model.ClientEndpoints{Endpoints: list, Transport: b.Transport}.Reachable())
			}
		}, byBackend)
}

// tableFor is the name of the table by which a client's calls to a Service port go; "" if there is no
// such port, or it does not speak HTTP. As for proxies, the routes of the client's own namespace come
// before all others (GEP-1294). A headless Service has no routes, but gRPC is used with them so much
// that it is served nevertheless.
func (g *Graph) tableFor(r *incr.Reader, port names.Out, t names.Target) string {
	consumer, node := port, port
	consumer.Consumer, node.Node = t.Namespace, t.Node
	for _, o := range []names.Out{consumer, node, port} {
		if f, ok := incr.Get(r, g.services.frontends, o.String()); ok {
			if f.Protocol.IsHTTP() {
				return o.String()
			}
			return ""
		}
	}
	k := model.Key{Namespace: port.Namespace, Name: port.Service}
	svc, ok := incr.Get(r, g.in.services, k)
	_, fronted := incr.Get(r, g.services.fronted, k)
	proto, _ := incr.Get(r, g.services.protocols, model.PortKey{Service: k, Port: port.Port})
	if ok && svc.Headless && fronted && proto.IsHTTP() {
		return port.String()
	}
	return ""
}

// headlessTable sends all calls to the Service itself.
func headlessTable(port names.Out) model.RouteTable {
	k := model.PortKey{Service: model.Key{Namespace: port.Namespace, Name: port.Service}, Port: port.Port}
	return model.RouteTable{Name: port.String(), Hosts: []model.VirtualHost{{
		Domains: []string{"*"}, Rules: []model.Rule{{Backends: []model.WeightedBackend{{Backend: k, Weight: 1}}}},
	}}}
}

func byName(a, b names.Target) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Host, b.Host))
}
