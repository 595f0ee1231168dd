// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"net/netip"
	"slices"

	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

func (g *Graph) buildLed() {
	d := &g.destinations
	d.led = incr.NewIndex(g.in.services, byKey, func(_ model.Key, s model.Service) []netip.Addr {
		out := slices.Clone(s.Balanced)
		for _, text := range s.LoadBalancer {
			if a, err := netip.ParseAddr(text); err == nil {
				out = append(out, a.Unmap())
			}
		}
		slices.SortFunc(out, netip.Addr.Compare)
		return slices.Compact(out)
	})
	d.ledNode = incr.NewIndex(g.in.services, byKey, func(_ model.Key, s model.Service) []uint16 { return s.NodePorts })
}

// led returns what reports whether connections to an address lead to a Gateway, or kube-proxy leads them to a Service, and
// so perhaps to a Gateway: see model.Resolve. namespace is that of the Service whose endpoint it is. The number of a port
// counts, for TCP and UDP alike.
//
// Anybody who may write a Service may claim any address by its externalIPs, so these count only in the namespace itself,
// and for Gateways.
func (g *Graph) led(r *incr.Reader, namespace string) func(netip.AddrPort) bool {
	found, nodePorts := map[netip.Addr]leading{}, map[uint16]bool{} // what was read already: an address has many ports
	return func(a netip.AddrPort) bool {
		l, ok := found[a.Addr()]
		if !ok {
			l = g.leading(r, namespace, a.Addr())
			found[a.Addr()] = l
		}
		if l.all || slices.ContainsFunc(l.ports, func(of []uint16) bool { _, is := slices.BinarySearch(of, a.Port()); return is }) {
			return true
		}
		if !l.node {
			return false
		}
		is, ok := nodePorts[a.Port()]
		if !ok {
			is = occupied(r, g.destinations.ledNode, a.Port())
			nodePorts[a.Port()] = is
		}
		return is
	}
}

// leading are the ports of an address on which connections are led elsewhere.
type leading struct {
	all   bool
	ports [][]uint16 // each sorted
	node  bool       // it is a node's: all node ports
}

func (g *Graph) leading(r *incr.Reader, namespace string, a netip.Addr) (l leading) {
	d := &g.destinations
	incr.Lookup(r, g.services.byAddress, a, func(_ model.Key, w model.Workload) { l.all = l.all || w.Kind == names.KindGateway })
	if l.all = l.all || occupied(r, d.byClusterIP, a); l.all {
		return l
	}
	incr.Lookup(r, d.led, a, func(_ model.Key, s model.Service) { l.ports = append(l.ports, s.OuterPorts) })
	incr.Lookup(r, d.byExternal, a, func(k model.Key, s model.Service) {
		if k.Namespace == namespace || s.Gateway != "" {
			l.ports = append(l.ports, s.OuterPorts)
		}
	})
	l.node = occupied(r, d.nodesAt, a)
	return l
}
