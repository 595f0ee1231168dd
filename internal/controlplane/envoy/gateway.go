// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// plainChain is the name of the chain of a Gateway's port for HTTP without TLS. It is not that of a section: all
// sections of the port share it, and any of them may be removed.
const plainChain = "http"

// GatewayListener makes the listener of a Gateway's port. A TLS section without a certificate, or
// with the server name of an earlier one, has no chain; a listener without any chain closes its connections.
//
// Each route of bytes has a filter chain of its own: where only chains differ, Envoy keeps the listener
// and the connections of all chains that are the same. What the route does with them is not in it (Sent).
// For the same reason no chain depends on another section of the port or on the order of sections.
func GatewayListener(g model.GatewayPort) Resource {
	if g.UDP {
		return gatewayUDP(g)
	}
	refs := refSet{}
	l := &listenerv3.Listener{
		Name:                          names.GatewayPort(g.Gateway.Namespace, g.Gateway.Name, g.Port),
		Address:                       address(anyIPv4, g.Port),
		TrafficDirection:              corev3.TrafficDirection_INBOUND,
		PerConnectionBufferLimitBytes: wrapperspb.UInt32(bufferLimit),
		TcpKeepalive:                  keepalive(),
	}
	if g.IPv6 {
		l.AdditionalAddresses = []*listenerv3.AdditionalAddress{{Address: address(anyIPv6, g.Port)}}
	}
	switch {
	case g.TLS:
		inspectHellos(l)
		l.FilterChains = tlsSections(g, refs)
	case len(g.Sections) > 0 && g.Sections[0].Bytes:
		l.FilterChains = streams{table: g.Sections[0].Table, prefix: g.Sections[0].Name, taken: map[string]bool{}}.chains(g.Sections[0].Streams, refs)
	case len(g.Sections) > 0:
		l.DefaultFilterChain = &listenerv3.FilterChain{
			Name:    plainChain,
			Filters: []*listenerv3.Filter{gatewayHTTP(g, g.Sections[0], refs)},
		}
	}
	if len(l.GetFilterChains()) == 0 && l.GetDefaultFilterChain() == nil {
		closed := &listenerv3.FilterChain{
			Name:    closedChain,
			Filters: []*listenerv3.Filter{bytesTo(names.Blackhole, names.Blackhole, refs)},
		}
		if slices.ContainsFunc(g.Sections, func(s model.GatewaySection) bool { return s.Bytes }) {
			l.FilterChains = []*listenerv3.FilterChain{closed} // without any the listener could not be changed in place
		} else {
			l.DefaultFilterChain = closed
		}
	}
	proxyProtocol(l, g)
	return listener(l, refs)
}

// closedChain is the chain of a listener that closes its connections.
const closedChain = "closed"

func tlsSections(g model.GatewayPort, refs refSet) []*listenerv3.FilterChain {
	var chains []*listenerv3.FilterChain
	taken := map[string]bool{}
	for _, s := range g.Sections {
		var secrets []string
		for _, c := range s.Certificates {
			secrets = append(secrets, names.GatewayTLS(g.Gateway.Namespace, g.Gateway.Name, c.Namespace, c.Name))
		}
		if s.Bytes {
			if of := (streams{table: s.Table, prefix: s.Name, taken: taken}); s.Passthrough {
				chains = append(chains, of.chains(s.Streams, refs)...)
			} else if len(secrets) > 0 {
				of.socket = fromWorld(secrets, nil)
				chains = append(chains, of.chains(s.Streams, refs)...)
			}
			continue
		}
		if len(s.Certificates) == 0 || taken[s.Hostname] {
			continue
		}
		taken[s.Hostname] = true
		m := &listenerv3.FilterChainMatch{TransportProtocol: "tls"}
		if s.Hostname != "" {
			m.ServerNames = []string{s.Hostname}
		}
		chains = append(chains, &listenerv3.FilterChain{
			Name:                          s.Name,
			FilterChainMatch:              m,
			TransportSocket:               fromWorld(secrets, clientsOf(g, s), names.ALPNHTTP, names.ALPNHTTP1),
			TransportSocketConnectTimeout: duration(handshakeTimeout),
			Filters:                       []*listenerv3.Filter{gatewayHTTP(g, s, refs)},
		})
	}
	return chains
}

// clientsOf is the check of clients' certificates in a section; nil: they are not asked for one.
func clientsOf(g model.GatewayPort, s model.GatewaySection) *clients {
	if s.Clients == nil {
		return nil
	}
	return &clients{secret: names.GatewayClients(g.Gateway.Namespace, g.Gateway.Name, g.Port), optional: s.Clients.Optional}
}

func gatewayHTTP(g model.GatewayPort, s model.GatewaySection, refs refSet) *listenerv3.Filter {
	return manager{place: edge, stat: s.Table, routes: refs.routes(s.Table), host: "localhost", hops: g.XFFHops, clients: g.ClientSettings}.filter()
}
