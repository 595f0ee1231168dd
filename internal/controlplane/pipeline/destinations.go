// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"
	"net/netip"
	"strings"

	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// destinations is what proxies get for addresses that have no listener: pods', load balancers', external
// IPs and node ports. It is made for what they connect to, and costs nothing for what they do not.
type destinations struct {
	clusters  *incr.Collection[netip.AddrPort, model.Destination] // without endpoints
	endpoints *incr.Collection[netip.AddrPort, model.Destination] // those of Services, with endpoints
	accounts  *incr.Collection[model.Key, model.AccountPeer]

	byOutside  *incr.Index[netip.Addr, model.Key, model.Service]
	byNodePort *incr.Index[uint16, model.Key, model.Service]
	nodesAt    *incr.Index[netip.Addr, nodeAddress, one]
	public     *incr.Index[one, netip.Prefix, one]
}

// nodeAddress is an address of a node.
type nodeAddress struct {
	addr netip.Addr
	node string
}

// behind is the Service port that an address leads to, for clients of a node where only its endpoints count.
type behind struct {
	key  model.PortKey
	node string
}

// privateNetworks are where the addresses of clusters usually are: RFC 1918, RFC 6598, RFC 2544 and RFC 4193.
func privateNetworks() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("fc00::/7"),
	}
}

func (g *Graph) buildDestinations() {
	e, d := &g.engine, &g.destinations
	d.byOutside = incr.NewIndex(g.in.services, byKey, func(_ model.Key, s model.Service) []netip.Addr { return s.Outside })
	d.byNodePort = incr.NewIndex(g.in.services, byKey, func(_ model.Key, s model.Service) []uint16 {
		var out []uint16
		for _, p := range s.Ports {
			if p.NodePort != 0 && p.Protocol != model.UDP {
				out = append(out, p.NodePort)
			}
		}
		return out
	})
	// The pods of a node tell its addresses; that one of them comes or changes is no change of these.
	onNodes := incr.NewIndex(g.in.workloads, byKey, func(_ model.Key, w model.Workload) []nodeAddress {
		if w.Ended {
			return nil
		}
		var out []nodeAddress
		for _, a := range w.NodeAddresses {
			out = append(out, nodeAddress{a, w.Node})
		}
		return out
	})
	nodes := incr.DeriveKeys(e, "node addresses", same[one],
		func(_ *incr.Reader, a nodeAddress, emit func(nodeAddress, one)) { emit(a, one{}) }, onNodes)
	d.nodesAt = incr.NewIndex(nodes, byNodeAddress, func(a nodeAddress, _ one) []netip.Addr { return []netip.Addr{a.addr} })
	g.buildPublicNetworks(onNodes)

	d.clusters = incr.Derive(e, "destinations", g.in.dialled, same[model.Destination],
		func(r *incr.Reader, a netip.AddrPort, _ one, emit func(netip.AddrPort, model.Destination)) {
			out, _ := g.destination(r, a)
			out.Endpoints = model.Endpoints{}
			emit(a, out)
		})
	d.endpoints = incr.Derive(e, "destination endpoints", d.clusters, same[model.Destination],
		func(r *incr.Reader, a netip.AddrPort, found model.Destination, emit func(netip.AddrPort, model.Destination)) {
			if found.Service == (model.PortKey{}) {
				return
			}
			if out, ok := g.destination(r, a); ok {
				emit(a, out)
			}
		})
	byAccount := incr.NewIndex(d.clusters, byAddrPort, func(_ netip.AddrPort, v model.Destination) []model.Key {
		if v.Account == (model.Key{}) {
			return nil
		}
		return []model.Key{v.Account}
	})
	d.accounts = incr.DeriveKeys(e, "account peers", same[model.AccountPeer],
		func(r *incr.Reader, k model.Key, emit func(model.Key, model.AccountPeer)) {
			settings, _ := incr.Get(r, g.in.settings, one{})
			roots, _ := incr.Get(r, g.in.roots, one{})
			id := names.SPIFFE{TrustDomain: settings.TrustDomain, Namespace: k.Namespace, ServiceAccount: k.Name}
			emit(k, model.AccountPeer{Account: k, Identity: id.String(), Roots: roots})
		}, byAccount)
}

// buildPublicNetworks lists the networks of the cluster's own addresses that are not private ones: of pods
// with a proxy, of nodes, and of what Services have outside.
func (g *Graph) buildPublicNetworks(onNodes *incr.Index[nodeAddress, model.Key, model.Workload]) {
	e := &g.engine
	ofPods := incr.NewIndex(g.in.workloads, byKey, func(_ model.Key, w model.Workload) []netip.Prefix {
		if w.Kind != names.KindSidecar || w.HostNetwork || w.Ended {
			return nil
		}
		return publicNetworks(w.Addresses)
	})
	ofServices := incr.NewIndex(g.in.services, byKey, func(_ model.Key, s model.Service) []netip.Prefix { return publicNetworks(s.Outside) })
	nodes := incr.DeriveKeys(e, "public node networks", same[one],
		func(_ *incr.Reader, a nodeAddress, emit func(nodeAddress, one)) {
			if len(publicNetworks([]netip.Addr{a.addr})) > 0 {
				emit(a, one{})
			}
		}, onNodes)
	ofNodes := incr.NewIndex(nodes, byNodeAddress, func(a nodeAddress, _ one) []netip.Prefix { return publicNetworks([]netip.Addr{a.addr}) })
	networks := incr.DeriveKeys(e, "public networks", same[one],
		func(_ *incr.Reader, p netip.Prefix, emit func(netip.Prefix, one)) { emit(p, one{}) }, ofPods, ofServices, ofNodes)
	g.destinations.public = incr.NewIndex(networks, byPrefix, func(netip.Prefix, one) []one { return []one{{}} })
}

// publicNetworks are the networks, each once, of those addresses that are not private: coarse, so that they
// seldom change.
func publicNetworks(addrs []netip.Addr) []netip.Prefix {
	var out []netip.Prefix
next:
	for _, a := range addrs {
		for _, p := range privateNetworks() {
			if p.Contains(a) {
				continue next
			}
		}
		bits := 24
		if a.Is6() {
			bits = 64
		}
		p := netip.PrefixFrom(a, bits).Masked()
		for _, other := range out {
			if other == p {
				continue next
			}
		}
		out = append(out, p)
	}
	return out
}

// onDemand are the chains of destinations without a listener. Each public network has a chain of its own,
// so that one that comes or goes touches no connection to another.
func (g *Graph) onDemand(r *incr.Reader) []model.DemandChain {
	out := []model.DemandChain{{Name: "on-demand", Prefixes: privateNetworks()}}
	incr.Lookup(r, g.destinations.public, one{}, func(p netip.Prefix, _ one) {
		out = append(out, model.DemandChain{Name: "on-demand " + p.String(), Prefixes: []netip.Prefix{p}})
	})
	return out
}

// destination finds out what is at an address; ok tells that it is a Service's, and has endpoints.
func (g *Graph) destination(r *incr.Reader, a netip.AddrPort) (d model.Destination, ok bool) {
	d.Addr = a
	if w, found := g.podAt(r, a.Addr()); found {
		if w.Meshed(a.Port()) {
			d.Account = model.Key{Namespace: w.Namespace, Name: w.ServiceAccount}
		}
		return d, false
	}
	b, found := g.behind(r, a)
	if !found {
		return d, false
	}
	v, _ := incr.Get(r, g.services.resolved, b.key.Service)
	for _, p := range v.Ports {
		if p.Port.Port != b.key.Port {
			continue
		}
		list := p.On(b.key.Service, b.node)
		if len(p.Members) == 0 || b.node != "" && len(list.List) == 0 {
			return d, false // without the mesh's help
		}
		svc, _ := incr.Get(r, g.in.services, b.key.Service)
		d.Service, d.Transport, d.Affinity, d.Endpoints = b.key, p.Transport, svc.AffinitySeconds > 0, list
		return d, true
	}
	return d, false
}

// behind finds the Service port that kube-proxy takes an address for.
func (g *Graph) behind(r *incr.Reader, a netip.AddrPort) (b behind, ok bool) {
	incr.Lookup(r, g.destinations.byOutside, a.Addr(), func(k model.Key, s model.Service) {
		for _, p := range s.Ports {
			if p.Port == a.Port() && p.Protocol != model.UDP && !ok {
				b, ok = behind{key: model.PortKey{Service: k, Port: p.Port}}, true
			}
		}
	})
	node, known := "", false
	incr.Lookup(r, g.destinations.nodesAt, a.Addr(), func(n nodeAddress, _ one) {
		if !known {
			node, known = n.node, true
		}
	})
	if ok || !known {
		return b, ok
	}
	incr.Lookup(r, g.destinations.byNodePort, a.Port(), func(k model.Key, s model.Service) {
		for _, p := range s.Ports {
			if p.NodePort == a.Port() && p.Protocol != model.UDP && !ok {
				b, ok = behind{key: model.PortKey{Service: k, Port: p.Port}}, true
				if s.LocalNodePorts {
					b.node = node
				}
			}
		}
	})
	return b, ok
}

func byNodeAddress(a, b nodeAddress) int {
	return cmp.Or(a.addr.Compare(b.addr), strings.Compare(a.node, b.node))
}

func byAddrPort(a, b netip.AddrPort) int { return a.Compare(b) }

func byPrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
