// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
)

// portOf is one port of a Gateway.
type portOf struct {
	gateway model.Key
	port    uint16
}

// tableOf is one table of a Gateway.
type tableOf struct {
	portOf
	section string // empty on plain ports
}

// secretOf is a certificate that a Gateway serves.
type secretOf struct{ gateway, secret model.Key }

func (g *Graph) buildGateways() {
	e, gw := &g.engine, &g.gateways
	gw.ports = incr.Derive(e, "gateway ports", g.in.gateways, same[model.GatewayPort],
		func(r *incr.Reader, k model.Key, _ *gwapiv1.Gateway, emit func(portOf, model.GatewayPort)) {
			for _, n := range gatewayapi.GatewayPortNumbers(g.lookup(r), k) {
				if p, ok := gatewayapi.GatewayPort(g.lookup(r), k, n); ok {
					emit(portOf{k, n}, p)
				}
			}
		})
	gw.byGateway = incr.NewIndex(gw.ports, byGatewayPort, func(p portOf, _ model.GatewayPort) []model.Key { return []model.Key{p.gateway} })

	// One key per table, so that a route costs the tables it is in and no others.
	keys := incr.NewIndex(gw.ports, byGatewayPort, func(p portOf, v model.GatewayPort) []tableOf {
		if !v.TLS {
			return []tableOf{{p, ""}}
		}
		var out []tableOf
		for _, s := range v.Sections {
			out = append(out, tableOf{p, s.Name})
		}
		return out
	})
	gw.tables = incr.DeriveKeys(e, "gateway tables", same[model.RouteTable],
		func(r *incr.Reader, k tableOf, emit func(string, model.RouteTable)) {
			if t, ok := gatewayapi.GatewayTable(g.lookup(r), k.gateway, k.port, k.section); ok {
				emit(t.Name, t)
			}
		}, keys)
	gw.reach = g.buildReach("gateway reach", gw.tables)
	gw.tablesByGateway = incr.NewIndex(gw.reach, strings.Compare, func(name string, _ []string) []model.Key {
		if seg := strings.Split(name, "/"); len(seg) > 2 {
			return []model.Key{{Namespace: seg[1], Name: seg[2]}}
		}
		return nil
	})

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

func byGatewayPort(a, b portOf) int {
	return cmp.Or(byKey(a.gateway, b.gateway), cmp.Compare(a.port, b.port))
}
