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
				if t.service.Namespace != k.Namespace {
					return // whoever names somebody else's pod changes nothing at that pod
				}
				key := model.PortKey{Service: t.service, Port: t.port}
				port := model.InboundPort{Port: t.pod.port, Protocol: p.Protocol}
				if served, ok := incr.Get(r, g.services.served, key); ok {
					port.Protocol = served
				}
				if port.Protocol == model.TCP && (p.Declared || p.Protocol != model.TCP) {
					port.Bytes = []model.PortKey{key}
				}
				in.Ports = append(in.Ports, port)
			})
			in.Ports = onePerPort(in.Ports)
			emit(k, in)
		})
}

// onePerPort sorts the ports. Where Services disagree about what a port speaks, the one that says
// more wins: requests to a port that is taken for bytes would lose their identity header. This is for
// connections that do not say which Service port they mean, and for those to a port that a Service declares
// to be bytes.
func onePerPort(ps []model.InboundPort) []model.InboundPort {
	rank := func(p model.Protocol) int {
		return slices.Index([]model.Protocol{model.GRPC, model.HTTP2, model.HTTP, model.TCP}, p)
	}
	slices.SortFunc(ps, func(a, b model.InboundPort) int {
		return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(rank(a.Protocol), rank(b.Protocol)))
	})
	var out []model.InboundPort
	for _, p := range ps {
		if len(out) == 0 || out[len(out)-1].Port != p.Port {
			out = append(out, p)
			continue
		}
		last := &out[len(out)-1]
		last.Bytes = append(last.Bytes, p.Bytes...)
	}
	for i := range out {
		if !out[i].Protocol.IsHTTP() {
			out[i].Bytes = nil // all of the port is
			continue
		}
		slices.SortFunc(out[i].Bytes, func(a, b model.PortKey) int {
			return cmp.Or(byKey(a.Service, b.Service), cmp.Compare(a.Port, b.Port))
		})
		out[i].Bytes = slices.Compact(out[i].Bytes)
	}
	return out
}
