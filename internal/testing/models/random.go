// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package models

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// Random makes pieces of the model that belong together, the same for the same seed: ordinary ones
// and such as no verdict should let through.
func Random(seed uint64) Input {
	return generator{rand.New(rand.NewPCG(seed, 7))}.input()
}

// Hosts and Paths are what Random chooses from.
func Hosts() []string {
	return []string{"a.example", "B.example", "*.example", "*", "x.y.example:80", "[fd00::1]:80", "é.example"}
}

// Paths are ordinary ones and such as Envoy's API refuses.
func Paths() []string {
	return []string{"/", "/a", "/a/", "/a/b", "/a%20b", "/a%c3%A9", "/a%C3%a9/%ag", "/é", "/a.b+c", "/" + string(bytes.Repeat([]byte("long"), 250)), "", "//", "/a?b", "/a#b", "a"}
}

func values() []string { return []string{"v1", "", "100%", "%REQ(x)%", "a\nb", "é", "\x7f", "a,b"} }

func headerNames() []string {
	return []string{"X-A", "x-a", "Host", ":path", "Cookie", "", "X B", "X-Envoy-Retry-On", "é"}
}

type generator struct{ *rand.Rand }

func (g generator) pick(from []string) string { return from[g.IntN(len(from))] }

func (g generator) coin() bool { return g.IntN(2) == 0 }

const services = 4

func (g generator) key() model.PortKey {
	return model.PortKey{Service: model.Key{Namespace: "shop", Name: fmt.Sprintf("s%d", g.IntN(services))}, Port: 80}
}

func (g generator) input() Input {
	var in Input
	protocols := []model.Protocol{model.HTTP, model.HTTP2, model.GRPC, model.TCP}
	transports := []model.Transport{model.MeshOnly, model.Mixed, model.Plain, "unknown"}
	for i := range services {
		k := model.PortKey{Service: model.Key{Namespace: "shop", Name: fmt.Sprintf("s%d", i)}, Port: 80}
		f := model.Frontend{Key: k, Addresses: []string{fmt.Sprintf("198.19.0.%d", i+1)}, Protocol: protocols[g.IntN(4)], Affinity: g.coin()}
		if f.Protocol.IsHTTP() {
			in.Tables = append(in.Tables, model.RouteTable{Name: "out/shop/" + k.Service.Name + "/80", Hosts: g.hosts()})
		} else {
			f.Backends = g.backends()
			if g.coin() {
				f.Streams = g.streams(g.coin())
			}
		}
		in.Frontends = append(in.Frontends, f)
		in.Backends = append(in.Backends, model.Backend{Key: k, Protocol: f.Protocol, Transport: transports[g.IntN(4)], Affinity: g.coin()})
		e := model.Endpoints{Key: k}
		for range g.IntN(5) {
			e.List = append(e.List, model.Endpoint{
				Addr:   netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 0, byte(g.IntN(9))}), uint16(1+g.IntN(9))),
				Meshed: g.coin(), Zone: g.pick([]string{"", "a", "b"}),
			})
		}
		in.Endpoints = append(in.Endpoints, e)
		in.Peers = append(in.Peers, model.Peers{Service: k.Service, Roots: "ROOTS"})
	}
	in.GatewayPorts = []model.GatewayPort{g.gatewayPort(443, true), g.gatewayPort(9300, false)}
	inbound := model.Inbound{Pod: model.Key{Namespace: "shop", Name: "p"}, Strict: g.coin(), Excluded: []uint16{9}}
	for port := range uint16(5) {
		inbound.Ports = append(inbound.Ports, model.InboundPort{Port: port + 1, Protocol: protocols[g.IntN(4)]})
	}
	in.Inbounds = []model.Inbound{inbound}
	in.Trust = &struct{ Roots, TrustDomain string }{"ROOTS", "cluster.local"}
	return in
}

// gatewayPort has sections of bytes that don't end TLS, so that nothing else belongs to it.
func (g generator) gatewayPort(port uint16, tls bool) model.GatewayPort {
	p := model.GatewayPort{Gateway: model.Key{Namespace: "shop", Name: "public"}, Port: port, TLS: tls, IPv6: g.coin()}
	for i := range g.IntN(3) {
		name := fmt.Sprintf("l%d", i)
		p.Sections = append(p.Sections, model.GatewaySection{
			Name: name, Bytes: true, Passthrough: tls, Table: fmt.Sprintf("gw/shop/public/%d/%s", port, name), Streams: g.streams(tls),
		})
	}
	return p
}

// streams take the same server names in several places, as no verdict lets them.
func (g generator) streams(named bool) []model.Stream {
	var out []model.Stream
	for i := range g.IntN(4) {
		s := model.Stream{Source: model.Object{Kind: "TLSRoute", Namespace: "shop", Name: fmt.Sprintf("r%d", i)}, Backends: g.backends(), Affinity: g.coin()}
		if i == 3 {
			s = model.Stream{}
		}
		if named {
			for range 1 + g.IntN(3) {
				s.Hosts = append(s.Hosts, g.pick([]string{"a.example", "B.example", "b.example", "*.example", "*.b.example", ""}))
			}
		}
		out = append(out, s)
	}
	return out
}

func (g generator) hosts() []model.VirtualHost {
	var out []model.VirtualHost
	for range 1 + g.IntN(3) {
		h := model.VirtualHost{}
		for range g.IntN(3) {
			h.Domains = append(h.Domains, g.pick(Hosts()))
		}
		for range g.IntN(4) {
			h.Rules = append(h.Rules, g.rule())
		}
		out = append(out, h)
	}
	return out
}

func (g generator) rule() model.Rule {
	kinds := []model.PathKind{"", model.PathPrefix, model.PathExact}
	r := model.Rule{
		Match:          model.Match{Path: model.PathMatch{Kind: kinds[g.IntN(3)], Value: g.pick(Paths())}, GRPC: g.IntN(4) == 0, Method: g.pick([]string{"", "GET"})},
		RequestHeaders: g.mods(), ResponseHeaders: g.mods(),
		Timeout: time.Duration(g.IntN(3)-1) * time.Second, BackendTimeout: time.Duration(g.IntN(3)-1) * time.Second, Affinity: g.coin(),
	}
	if g.coin() {
		r.Match.Headers = append(r.Match.Headers, model.ValueMatch{Name: g.pick(headerNames()), Value: g.pick(values())})
		r.Match.Query = append(r.Match.Query, model.ValueMatch{Name: g.pick(headerNames()), Value: g.pick(values())})
	}
	change := &model.PathRewrite{Full: g.coin(), Prefix: r.Match.Path.Value, Replacement: g.pick(Paths())}
	switch g.IntN(4) {
	case 0:
		r.Redirect = &model.Redirect{Scheme: g.pick([]string{"", "https", "http"}), Hostname: g.pick([]string{"", "a.example"}), Port: uint16(g.IntN(3) * 80), StatusCode: 300 + g.IntN(10), Path: change}
		return r
	case 1:
		r.Rewrite = &model.Rewrite{Hostname: g.pick(Hosts()), Path: change}
	case 2:
		r.Retry = &model.Retry{Attempts: uint32(g.IntN(3)), Codes: []uint32{500, 503}, Backoff: time.Duration(g.IntN(3)) * 100 * time.Microsecond}
	}
	for range g.IntN(3) {
		r.Mirrors = append(r.Mirrors, model.Mirror{Backend: g.key(), Numerator: uint32(g.IntN(5)), Denominator: uint32(g.IntN(4))})
	}
	r.Backends = g.backends()
	return r
}

func (g generator) backends() []model.WeightedBackend {
	var out []model.WeightedBackend
	for range g.IntN(4) {
		b := model.WeightedBackend{Backend: g.key(), Weight: uint32(g.IntN(3)), Invalid: g.IntN(4) == 0}
		if g.IntN(3) == 0 {
			b.RequestHeaders = g.mods()
		}
		out = append(out, b)
	}
	return out
}

func (g generator) mods() model.HeaderMods {
	var m model.HeaderMods
	for range g.IntN(3) {
		h := model.Header{Name: g.pick(headerNames()), Value: g.pick(values())}
		switch g.IntN(3) {
		case 0:
			m.Set = append(m.Set, h)
		case 1:
			m.Add = append(m.Add, h)
		default:
			m.Remove = append(m.Remove, h.Name)
		}
	}
	return m
}
