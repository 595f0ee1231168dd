// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"
	"slices"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// portOf is one port of a Gateway.
type portOf struct {
	gateway model.Key
	port    uint16
	udp     bool
}

// listener is the name of the port's Listener.
func (p portOf) listener() string {
	if p.udp {
		return names.GatewayUDPPort(p.gateway.Namespace, p.gateway.Name, p.port)
	}
	return names.GatewayPort(p.gateway.Namespace, p.gateway.Name, p.port)
}

// tableOf is one table of a Gateway.
type tableOf struct {
	portOf
	section string // empty on plain ports for HTTP
}

// secretOf is a certificate that a Gateway serves.
type secretOf struct{ gateway, secret model.Key }

func (g *Graph) buildGateways() {
	e, gw := &g.engine, &g.gateways
	// Once for all who ask: ports, tables, and the verdict and the parts of each route.
	gw.read = incr.Derive(e, "gateway listeners read", g.in.gateways, same[gatewayapi.Listeners],
		func(r *incr.Reader, k model.Key, _ *gwapiv1.Gateway, emit func(model.Key, gatewayapi.Listeners)) {
			emit(k, gatewayapi.ReadListeners(g.lookup(r), k))
		})
	g.buildPrecedence()
	g.buildExpressions()
	gw.served = incr.Derive(e, "gateway listeners served", g.in.gateways, same[gatewayapi.Served],
		func(r *incr.Reader, k model.Key, _ *gwapiv1.Gateway, emit func(model.Key, gatewayapi.Served)) {
			emit(k, gatewayapi.ReadServed(g.lookup(r), k))
		})
	gw.ports = incr.Derive(e, "gateway ports", g.in.gateways, same[model.GatewayPort],
		func(r *incr.Reader, k model.Key, _ *gwapiv1.Gateway, emit func(portOf, model.GatewayPort)) {
			for _, n := range gatewayapi.GatewayPortNumbers(g.lookup(r), k) {
				if p, ok := gatewayapi.GatewayPort(g.lookup(r), k, n); ok {
					emit(portOf{k, n, false}, p)
				}
			}
			for _, n := range gatewayapi.GatewayUDPPortNumbers(g.lookup(r), k) {
				if p, ok := gatewayapi.GatewayUDPPort(g.lookup(r), k, n); ok {
					emit(portOf{k, n, true}, p)
				}
			}
		})
	gw.byGateway = incr.NewIndex(gw.ports, byGatewayPort, func(p portOf, _ model.GatewayPort) []model.Key { return []model.Key{p.gateway} })

	keys := incr.NewIndex(gw.ports, byGatewayPort, sections(false))
	gw.tables = incr.DeriveKeys(e, "gateway tables", same[model.GatewayTable],
		func(r *incr.Reader, k tableOf, emit func(string, model.GatewayTable)) {
			if t, ok := gatewayapi.GatewayTable(g.lookup(r), k.gateway, k.port, k.section); ok {
				emit(t.Name, t)
			}
		}, keys)
	gw.tablesByGateway = incr.NewIndex(gw.tables, strings.Compare, func(name string, _ model.GatewayTable) []model.Key { return ofGateway(name) })
	g.buildRouteParts()
	g.buildGatewayStreams()

	certificates := incr.NewIndex(gw.ports, byGatewayPort, func(p portOf, v model.GatewayPort) []secretOf {
		var out []secretOf
		for _, s := range v.Sections {
			for _, c := range s.Certificates {
				out = append(out, secretOf{p.gateway, c})
			}
		}
		return out
	})
	shown := incr.Derive(e, "gateway client certificates", g.in.gateways, same[one],
		func(r *incr.Reader, k model.Key, _ *gwapiv1.Gateway, emit func(secretOf, one)) {
			if s, ok := gatewayapi.ClientCertificate(g.lookup(r), k); ok {
				emit(secretOf{k, s}, one{})
			}
		})
	gw.secrets = incr.DeriveKeys(e, "gateway certificates", same[model.TLSSecret],
		func(r *incr.Reader, k secretOf, emit func(secretOf, model.TLSSecret)) {
			if s, ok := incr.Get(r, g.in.secrets, k.secret); ok && s.Problem == "" {
				emit(k, s.TLSSecret)
			}
		}, certificates, shown)
	g.buildGatewayTLS()
}

// buildGatewayStreams puts what routes of bytes take into the listeners.
func (g *Graph) buildGatewayStreams() {
	e, gw := &g.engine, &g.gateways
	keys := incr.NewIndex(gw.ports, byGatewayPort, sections(true))
	gw.streams = incr.DeriveKeys(e, "gateway streams", same[model.StreamTable],
		func(r *incr.Reader, k tableOf, emit func(string, model.StreamTable)) {
			if t, ok := gatewayapi.GatewayStreams(g.lookup(r), model.GatewayPort{Gateway: k.gateway, Port: k.port, UDP: k.udp}, k.section); ok {
				emit(t.Name, t)
			}
		}, keys)
	gw.ofRoutes = g.ofEach("gateway streams of routes", gw.streams)
	gw.flow = g.buildFlow("gateway flow", gw.streams)
	gw.streamsByGateway = incr.NewIndex(gw.flow, strings.Compare, func(name string, _ []string) []model.Key { return ofGateway(name) })
	gw.listeners = incr.Derive(e, "gateway listeners", gw.ports, same[model.GatewayPort],
		func(r *incr.Reader, k portOf, p model.GatewayPort, emit func(portOf, model.GatewayPort)) {
			p.Sections = slices.Clone(p.Sections)
			for i := range p.Sections {
				if s := &p.Sections[i]; s.Bytes {
					t, _ := incr.Get(r, gw.streams, s.Table)
					s.Streams = t.Taken()
				}
			}
			emit(k, p)
		})
}

// sent is what routes do with connections, each a resource of its own.
func (g *Graph) sent(name string, tables *incr.Collection[string, model.StreamTable]) *incr.Collection[partOf, model.Sent] {
	return incr.Derive(&g.engine, name, tables, same[model.Sent],
		func(_ *incr.Reader, _ string, t model.StreamTable, emit func(partOf, model.Sent)) {
			for _, s := range t.Sent() {
				emit(partOf{s.Table, s.Source}, s)
			}
		})
}

// sections are the sections of a port that pass bytes on, or those that read HTTP.
func sections(bytes bool) func(portOf, model.GatewayPort) []tableOf {
	return func(p portOf, v model.GatewayPort) (out []tableOf) {
		for _, s := range v.Sections {
			if s.Bytes == bytes {
				out = append(out, tableOf{p, s.Name})
			}
		}
		return out
	}
}

// ofGateway is the Gateway in the name of a table.
func ofGateway(name string) []model.Key {
	if seg := strings.Split(name, "/"); len(seg) > 2 {
		return []model.Key{{Namespace: seg[1], Name: seg[2]}}
	}
	return nil
}

func byGatewayPort(a, b portOf) int {
	if c := cmp.Or(byKey(a.gateway, b.gateway), cmp.Compare(a.port, b.port)); c != 0 || a.udp == b.udp {
		return c
	}
	if b.udp {
		return -1
	}
	return 1
}
