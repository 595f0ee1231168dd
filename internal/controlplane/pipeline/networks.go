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
	ofServices := incr.NewIndex(g.in.services, byKey, func(_ model.Key, s model.Service) []netip.Prefix {
		return publicNetworks(append(slices.Clone(s.Balanced), s.External...))
	})
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

func byPrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
