// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"
	"net/netip"
	"slices"

	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// privateNetworks are where the addresses of clusters usually are: RFC 1918, RFC 6598, RFC 2544 and RFC 4193.
func privateNetworks() []netip.Prefix {
	return []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
		netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("fc00::/7"),
	}
}

// maxNetworks bounds the public networks: each is a filter chain in every proxy of the mesh. Of more, those
// count that are listed first below. Of these namespaces have equal shares, of their lowest networks, so that
// no namespace takes them from another.
const maxNetworks = 64

// Whose a public network is.
const (
	ofPods = iota // that have a proxy
	ofBalancers
	ofNodes
	ofExternalIPs
)

// network is a public network, and whose it is. The namespace is that of the Service, and else empty.
type network struct {
	of        int
	namespace string
	prefix    netip.Prefix
}

// buildPublicNetworks lists the networks of the cluster's own addresses that are not private ones: of pods
// with a proxy, of nodes, and of the outside addresses of Services with meshed pods behind them.
func (g *Graph) buildPublicNetworks(onNodes *incr.Index[nodeAddress, model.Key, model.Workload]) {
	e := &g.engine
	pods := incr.NewIndex(g.in.workloads, byKey, func(_ model.Key, w model.Workload) []network {
		if w.Kind != names.KindSidecar || w.HostNetwork || w.Ended {
			return nil
		}
		return publicNetworks(ofPods, "", w.Addresses)
	})
	outside := incr.Derive(e, "public service networks", g.in.services, same[[]network],
		func(r *incr.Reader, k model.Key, s model.Service, emit func(model.Key, []network)) {
			list := append(publicNetworks(ofBalancers, k.Namespace, s.Balanced), publicNetworks(ofExternalIPs, k.Namespace, s.External)...)
			if len(list) == 0 {
				return
			}
			v, _ := incr.Get(r, g.services.resolved, k)
			if slices.ContainsFunc(v.Ports, func(p model.ResolvedPort) bool { return len(p.Members) > 0 }) {
				emit(k, list)
			}
		})
	services := incr.NewIndex(outside, byKey, func(_ model.Key, list []network) []network { return list })
	onPublic := incr.DeriveKeys(e, "public node networks", same[one],
		func(_ *incr.Reader, a nodeAddress, emit func(nodeAddress, one)) {
			if len(publicNetworks(ofNodes, "", []netip.Addr{a.addr})) > 0 {
				emit(a, one{})
			}
		}, onNodes)
	nodes := incr.NewIndex(onPublic, byNodeAddress, func(a nodeAddress, _ one) []network { return publicNetworks(ofNodes, "", []netip.Addr{a.addr}) })
	all := incr.DeriveKeys(e, "public networks", same[one],
		func(_ *incr.Reader, n network, emit func(network, one)) { emit(n, one{}) }, pods, services, nodes)
	public := incr.NewIndex(all, byNetwork, func(network, one) []one { return []one{{}} })
	g.destinations.networks = incr.Derive(e, "networks on demand", g.in.settings, same[networks],
		func(r *incr.Reader, _ one, _ model.Settings, emit func(one, networks)) {
			var all []network
			incr.Lookup(r, public, one{}, func(n network, _ one) { all = append(all, n) })
			var out networks
			seen := map[netip.Prefix]bool{}
			for _, n := range inTurns(all) {
				switch {
				case seen[n.prefix]:
				case len(out.used) < maxNetworks:
					out.used = append(out.used, n.prefix)
				default:
					out.ignored = append(out.ignored, n.prefix)
				}
				seen[n.prefix] = true
			}
			slices.SortFunc(out.used, byPrefix)
			emit(one{}, out)
		})
}

// inTurns orders networks that are sorted: by whose they are, and of these the first of each namespace, then the
// second of each, and so on.
func inTurns(all []network) []network {
	type place struct {
		of        int
		namespace string
	}
	turn, taken := make(map[network]int, len(all)), map[place]int{}
	for _, n := range all {
		p := place{n.of, n.namespace}
		turn[n] = taken[p]
		taken[p]++
	}
	slices.SortStableFunc(all, func(a, b network) int {
		return cmp.Or(cmp.Compare(a.of, b.of), cmp.Compare(turn[a], turn[b]), byPrefix(a.prefix, b.prefix), cmp.Compare(a.namespace, b.namespace))
	})
	return all
}

// networks are the public networks that proxies ask about, sorted, and those that are too many.
type networks struct{ used, ignored []netip.Prefix }

// Ignored are public networks whose addresses pass the proxies untouched because there are too many of them.
func (g *Graph) Ignored() []netip.Prefix {
	v, _ := g.destinations.networks.Value(one{})
	return v.ignored
}

// publicNetworks are the networks, each once, of those addresses that are not private: coarse, so that they
// seldom change.
func publicNetworks(of int, namespace string, addrs []netip.Addr) []network {
	var out []network
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
		if n := (network{of, namespace, netip.PrefixFrom(a, bits).Masked()}); !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

// onDemand are the chains of destinations without a listener. Each public network has a chain of its own,
// so that one that comes or goes touches no connection to another.
func (g *Graph) onDemand(r *incr.Reader) []model.DemandChain {
	out := []model.DemandChain{{Name: "on-demand", Prefixes: privateNetworks()}}
	v, _ := incr.Get(r, g.destinations.networks, one{})
	for _, p := range v.used {
		out = append(out, model.DemandChain{Name: "on-demand " + p.String(), Prefixes: []netip.Prefix{p}})
	}
	return out
}

func byPrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func byNetwork(a, b network) int {
	return cmp.Or(cmp.Compare(a.of, b.of), cmp.Compare(a.namespace, b.namespace), byPrefix(a.prefix, b.prefix))
}
