// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"cmp"
	"net/netip"
	"slices"
	"testing"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

const trustDomain = "cluster.local"

// mesh is a network of pods with real proxies.
type mesh struct {
	bin  string
	pki  *authority
	wire *wire
	ads  *ads
	// anchors are what chains of the mesh must end in; empty: the root.
	anchors string
	// common are the resources that all sidecars have in common; nil: envoy.Common.
	common []envoy.Resource
	// inbound is the inbound listener of sidecars; nil: envoy.Inbound.
	inbound *envoy.Resource
	// clients is what its Gateways say about their clients.
	clients model.GatewayClientSettings
}

func newMesh(t *testing.T) *mesh {
	t.Helper()
	return newMeshOf(t, binary(t))
}

// newMeshOf is a mesh of another Envoy.
func newMeshOf(t *testing.T, bin string) *mesh {
	t.Helper()
	return &mesh{bin: executable(t, bin), pki: newAuthority(t), wire: newWire(t), ads: newADS(t, shared(t))}
}

func (m *mesh) trusted() string { return cmp.Or(m.anchors, m.pki.roots()) }

// pod is a meshed pod.
type pod struct {
	*netns
	*proxy
	name, ip string
	own      []envoy.Resource
}

// sidecar makes a meshed pod of service account sa (its name), serving ports, and holding what the clients of services need.
func (m *mesh) sidecar(t *testing.T, name, ip string, in model.Inbound, outbound []envoy.Resource) *pod {
	t.Helper()
	in.Pod = model.Key{Namespace: "shop", Name: name}
	p := &pod{netns: m.wire.plug(t, ip, true), name: name, ip: ip}
	id := names.SPIFFE{TrustDomain: trustDomain, Namespace: "shop", ServiceAccount: name}.String()
	identity := identitySecret(t, m.pki, id)
	common := m.common
	if common == nil {
		common = envoy.Common(model.Settings{})
	}
	inbound := envoy.Inbound(in)
	if m.inbound != nil {
		inbound = *m.inbound
	}
	p.own = append(slices.Clone(common),
		inbound,
		envoy.TrustSecret(m.trusted(), trustDomain),
		envoy.Resource{TypeURL: envoy.SecretType, Name: "identity", Message: identity},
	)
	p.proxy = startProxy(t, m.bin, p.netns, m.ads, name, append(p.own, outbound...))
	return p
}

// hold changes what a pod's proxy needs as a client.
func (p *pod) hold(t *testing.T, outbound []envoy.Resource) {
	t.Helper()
	p.update(t, append(append([]envoy.Resource{}, p.own...), outbound...))
}

// service is a Service with one port, 80, as the model has it.
type service struct {
	name      string
	vip       string
	protocol  model.Protocol
	transport model.Transport
	endpoints []model.Endpoint
	// accounts are the service accounts behind it; default: those of its name.
	accounts []string
	affinity bool
}

func (s service) key() model.PortKey {
	return model.PortKey{Service: model.Key{Namespace: "shop", Name: s.name}, Port: 80}
}

func (s service) table() string {
	return names.Out{Namespace: "shop", Service: s.name, Port: 80}.String()
}

// backend is what clients of other Services' routes need of s.
func (s service) backend(m *mesh) []envoy.Resource {
	var ids []string
	for _, a := range s.accounts {
		ids = append(ids, names.SPIFFE{TrustDomain: trustDomain, Namespace: "shop", ServiceAccount: a}.String())
	}
	transport := s.transport
	if transport == "" {
		transport = model.MeshOnly
	}
	return []envoy.Resource{
		envoy.Cluster(model.Backend{Key: s.key(), Protocol: s.protocol, Transport: transport, Affinity: s.affinity}),
		envoy.Endpoints(model.Endpoints{Key: s.key(), List: s.endpoints}),
		envoy.PeerSecret(model.Peers{Service: s.key().Service, Identities: ids, Roots: m.trusted()}),
	}
}

// all is the Service as a destination: with its listener, and rules (default: itself).
func (s service) all(m *mesh, rules ...model.Rule) []envoy.Resource {
	self := []model.WeightedBackend{{Backend: s.key(), Weight: 1}}
	out := append(s.backend(m), envoy.Listener(model.Frontend{
		Key: s.key(), Addresses: []string{s.vip}, Protocol: s.protocol, Backends: self, Affinity: s.affinity,
	}))
	if !s.protocol.IsHTTP() {
		return out
	}
	if len(rules) == 0 {
		rules = []model.Rule{{Backends: self, Affinity: s.affinity}}
	}
	return append(out, envoy.Routes(model.RouteTable{
		Name: s.table(), Hosts: []model.VirtualHost{{Domains: []string{"*"}, Rules: rules}},
	}))
}

// to is a share of the requests for s.
func (s service) to(weight uint32) model.WeightedBackend {
	return model.WeightedBackend{Backend: s.key(), Weight: weight}
}

func meshed(ip string, port uint16) model.Endpoint {
	return model.Endpoint{Addr: netip.AddrPortFrom(netip.MustParseAddr(ip), port), Meshed: true}
}

func plain(ip string, port uint16) model.Endpoint {
	return model.Endpoint{Addr: netip.AddrPortFrom(netip.MustParseAddr(ip), port)}
}

func prefix(p string) model.Match {
	return model.Match{Path: model.PathMatch{Kind: model.PathPrefix, Value: p}}
}

func concat(lists ...[]envoy.Resource) []envoy.Resource {
	var out []envoy.Resource
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}
