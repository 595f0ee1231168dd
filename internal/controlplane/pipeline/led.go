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
	d := &g.destinations
	return func(a netip.AddrPort) (led bool) {
		incr.Lookup(r, g.services.byAddress, a.Addr(), func(_ model.Key, w model.Workload) { led = led || w.Kind == names.KindGateway })
		if led || occupied(r, d.byClusterIP, a.Addr()) {
			return true
		}
		incr.Lookup(r, d.led, a.Addr(), func(_ model.Key, s model.Service) { led = led || slices.Contains(s.OuterPorts, a.Port()) })
		incr.Lookup(r, d.byExternal, a.Addr(), func(k model.Key, s model.Service) {
			led = led || (k.Namespace == namespace || s.Gateway != "") && slices.Contains(s.OuterPorts, a.Port())
		})
		return led || occupied(r, d.nodesAt, a.Addr()) && occupied(r, d.ledNode, a.Port())
	}
}
