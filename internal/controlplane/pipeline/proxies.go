// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"cmp"
	"slices"

	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

func (g *Graph) buildProxies() {
	g.proxies.inbound = incr.Derive(&g.engine, "inbound", g.in.workloads, same[model.Inbound],
		func(r *incr.Reader, k model.Key, w model.Workload, emit func(model.Key, model.Inbound)) {
			if w.Kind != names.KindSidecar || w.Ended {
				return
			}
			settings, _ := incr.Get(r, g.in.settings, one{})
			in := model.Inbound{Pod: k, Strict: settings.Strict, Excluded: slices.Clone(w.ExcludedInboundPorts)}
			slices.Sort(in.Excluded)
			incr.Lookup(r, g.services.targetsByPod, k, func(t target, p model.ServicePort) {
				proto := p.Protocol
				if routed, ok := incr.Get(r, g.services.protocols, model.PortKey{Service: t.service, Port: t.port}); ok {
					proto = routed
				}
				in.Ports = append(in.Ports, model.InboundPort{Port: t.pod.port, Protocol: proto})
			})
			in.Ports = onePerPort(in.Ports)
			emit(k, in)
		})
}

// onePerPort sorts the ports. Where Services disagree about what a port speaks, the one that says
// more wins: requests to a port that is taken for bytes would lose their identity header.
func onePerPort(ps []model.InboundPort) []model.InboundPort {
	rank := func(p model.Protocol) int {
		return slices.Index([]model.Protocol{model.GRPC, model.HTTP2, model.HTTP, model.TCP}, p)
	}
	slices.SortFunc(ps, func(a, b model.InboundPort) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(rank(a.Protocol), rank(b.Protocol)))
	})
	return slices.CompactFunc(ps, func(a, b model.InboundPort) bool { return a.Port == b.Port })
}
