// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// destinations is what proxies get for addresses that have no listener: pods', load balancers', external
// IPs and node ports. It is made for what they connect to, and costs nothing for what they do not.
type destinations struct {
	clusters  *incr.Collection[netip.AddrPort, model.Destination] // without endpoints
	endpoints *incr.Collection[netip.AddrPort, model.Destination] // those of one node, with endpoints
	accounts  *incr.Collection[model.Key, model.AccountPeer]

	byClusterIP *incr.Index[netip.Addr, model.Key, model.Service]
	byMorePorts *incr.Index[netip.Addr, model.Key, model.Service] // cluster addresses of Services with model.Service.MorePorts
	byBalancer  *incr.Index[netip.Addr, model.Key, model.Service]
	byExternal  *incr.Index[netip.Addr, model.Key, model.Service]
	byNodePort  *incr.Index[uint16, model.Key, model.Service]
	nodesAt     *incr.Index[netip.Addr, nodeAddress, one]
	onNodes     *incr.Index[nodeAddress, model.Key, model.Workload]
	networks    *incr.Collection[one, networks]

	led     *incr.Index[netip.Addr, model.Key, model.Service] // Services by the addresses of their load balancers
	ledNode *incr.Index[uint16, model.Key, model.Service]     // Services by their node ports
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

// buildAddresses finds Services and nodes by their addresses.
func (g *Graph) buildAddresses() {
	e, d := &g.engine, &g.destinations
	d.byClusterIP = incr.NewIndex(g.in.services, byKey, func(_ model.Key, s model.Service) []netip.Addr { return s.VIPs })
	d.byMorePorts = incr.NewIndex(g.in.services, byKey, func(_ model.Key, s model.Service) []netip.Addr {
		if s.MorePorts == 0 {
			return nil
		}
		return s.VIPs
	})
	d.byBalancer = incr.NewIndex(g.in.services, byKey, func(_ model.Key, s model.Service) []netip.Addr { return s.Balanced })
	d.byExternal = incr.NewIndex(g.in.services, byKey, func(_ model.Key, s model.Service) []netip.Addr { return s.External })
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
	d.onNodes = incr.NewIndex(g.in.workloads, byKey, func(_ model.Key, w model.Workload) []nodeAddress {
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
		func(_ *incr.Reader, a nodeAddress, emit func(nodeAddress, one)) { emit(a, one{}) }, d.onNodes)
	d.nodesAt = incr.NewIndex(nodes, byNodeAddress, func(a nodeAddress, _ one) []netip.Addr { return []netip.Addr{a.addr} })
	g.buildLed()
}

func (g *Graph) buildDestinations() {
	e, d := &g.engine, &g.destinations
	g.buildPublicNetworks(d.onNodes)
	d.clusters = incr.Derive(e, "destinations", g.in.dialled, same[model.Destination],
		func(r *incr.Reader, a netip.AddrPort, what answer, emit func(netip.AddrPort, model.Destination)) {
			if what != lookedUp {
				emit(a, model.Destination{Addr: a, Closed: what == closed})
				return
			}
			out := g.destination(r, a)
			out.Endpoints = model.Endpoints{}
			emit(a, out)
		})
	d.endpoints = incr.Derive(e, "destination endpoints", d.clusters, same[model.Destination],
		func(r *incr.Reader, a netip.AddrPort, found model.Destination, emit func(netip.AddrPort, model.Destination)) {
			if !found.Local {
				return
			}
			if out := g.destination(r, a); out.Local {
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

// destination finds out what is at an address.
func (g *Graph) destination(r *incr.Reader, a netip.AddrPort) model.Destination {
	d := model.Destination{Addr: a}
	if w, found := g.podAt(r, a.Addr()); found {
		if w.Meshed(a.Port()) {
			d.Account = model.Key{Namespace: w.Namespace, Name: w.ServiceAccount}
		}
		return d
	}
	if port, found := g.unlisted(r, a); found {
		if v, _ := incr.Get(r, g.services.resolved, port.Service); v.More == model.MeshOnly {
			d.Service, d.Transport, d.Original = port, v.More, true
		}
		return d
	}
	b, found := g.behind(r, a)
	if !found {
		return d
	}
	v, _ := incr.Get(r, g.services.resolved, b.key.Service)
	for _, p := range v.Ports {
		if p.Port.Port != b.key.Port {
			continue
		}
		if len(p.Members) == 0 {
			return d // without the mesh's help
		}
		if b.node != "" {
			if d.Endpoints = p.On(b.key.Service, b.node); len(d.Endpoints.List) == 0 {
				return d
			}
			d.Local = true
		}
		svc, _ := incr.Get(r, g.in.services, b.key.Service)
		d.Service, d.Transport, d.Affinity = b.key, p.Transport, svc.AffinitySeconds > 0
	}
	return d
}

// unlisted finds the Service that has a cluster address, and may have the port among those that are not in
// model.Service.Ports.
func (g *Graph) unlisted(r *incr.Reader, a netip.AddrPort) (port model.PortKey, ok bool) {
	incr.Lookup(r, g.destinations.byMorePorts, a.Addr(), func(k model.Key, s model.Service) {
		listed := func(p model.ServicePort) bool { return p.Port == a.Port() && p.Protocol != model.UDP }
		if !ok && !slices.ContainsFunc(s.Ports, listed) {
			port, ok = model.PortKey{Service: k, Port: a.Port()}, true
		}
	})
	return port, ok
}

// behind finds the Service port that kube-proxy takes an address for. Anybody who may write a Service may
// claim any address by its externalIPs, so these count least: not for a cluster address, a load balancer's,
// a node's or a pod's.
func (g *Graph) behind(r *incr.Reader, a netip.AddrPort) (b behind, ok bool) {
	d := &g.destinations
	if occupied(r, d.byClusterIP, a.Addr()) {
		return b, false
	}
	if b.key, ok = claimant(r, d.byBalancer, a); ok {
		return b, b.key != model.PortKey{}
	}
	node, known := "", false
	incr.Lookup(r, d.nodesAt, a.Addr(), func(n nodeAddress, _ one) {
		if !known {
			node, known = n.node, true
		}
	})
	if !known {
		if occupied(r, g.services.byAddress, a.Addr()) {
			return b, false
		}
		b.key, _ = claimant(r, d.byExternal, a)
		return b, b.key != model.PortKey{}
	}
	incr.Lookup(r, d.byNodePort, a.Port(), func(k model.Key, s model.Service) {
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

// claimant is the Service port that claims an address and port. Of several in a namespace it is the first;
// where several namespaces claim it, none of them has it, and the key is empty.
func claimant(r *incr.Reader, x *incr.Index[netip.Addr, model.Key, model.Service], a netip.AddrPort) (key model.PortKey, claimed bool) {
	disputed := false
	incr.Lookup(r, x, a.Addr(), func(k model.Key, s model.Service) {
		for _, p := range s.Ports {
			switch {
			case p.Port != a.Port() || p.Protocol == model.UDP:
			case !claimed:
				key, claimed = model.PortKey{Service: k, Port: p.Port}, true
			case k.Namespace != key.Service.Namespace:
				disputed = true
			}
		}
	})
	if disputed {
		key = model.PortKey{}
	}
	return key, claimed
}

// occupied reports whether there is something in a bucket of an index.
func occupied[B, K comparable, V any](r *incr.Reader, x *incr.Index[B, K, V], b B) (found bool) {
	incr.Lookup(r, x, b, func(K, V) { found = true })
	return found
}

func byNodeAddress(a, b nodeAddress) int {
	return cmp.Or(a.addr.Compare(b.addr), strings.Compare(a.node, b.node))
}

func byAddrPort(a, b netip.AddrPort) int { return a.Compare(b) }
