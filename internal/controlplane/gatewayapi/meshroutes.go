// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"maps"
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// MeshRoutes are the routes that decide for the ports of a Service. ReadMeshRoutes makes it, once for the tables,
// protocols and verdicts of all of them, since each would have to look at all routes of the Service. It is never
// changed. The zero value has no routes.
type MeshRoutes struct {
	// decide are the routes of a namespace that decide for a port: all of one kind, from old to new.
	decide map[portFor][]*Route
	// rivals are the routes that have no effect on a port.
	rivals map[model.Object][]MeshRival
	// consumers are the namespaces other than the Service's for which there is an entry in decide, sorted.
	consumers []string
}

// portFor is a port of a Service for the routes of a namespace.
type portFor struct {
	port      uint16
	namespace string
}

// MeshRival is the route that keeps another from having an effect on some ports of a Service. If it is of
// another kind, the other is not accepted there; if it is of the same kind, it takes all connections.
type MeshRival struct {
	By    model.Object
	Ports []uint16 // sorted, each once
}

// ReadMeshRoutes finds out which routes decide for the ports of a Service.
func ReadMeshRoutes(l Lookup, service model.Key) MeshRoutes {
	svc, ok := l.Service(service)
	if !ok || noFrontend(svc) != "" {
		return MeshRoutes{}
	}
	routes := slices.DeleteFunc(onService(l, service), func(r *Route) bool { return !r.valid() })
	if len(routes) == 0 {
		return MeshRoutes{}
	}
	slices.SortFunc(routes, func(a, b *Route) int { return cmp.Or(cmp.Compare(a.precedence, b.precedence), older(a, b)) })
	out := MeshRoutes{decide: map[portFor][]*Route{}, rivals: map[model.Object][]MeshRival{}}
	consumers := map[string]bool{}
	ports := slices.DeleteFunc(slices.Clone(svc.Ports), func(p model.ServicePort) bool { return p.Protocol == model.UDP })
	slices.SortStableFunc(ports, func(a, b model.ServicePort) int { return cmp.Compare(a.Port, b.Port) })
	ports = slices.CompactFunc(ports, func(a, b model.ServicePort) bool { return a.Port == b.Port })
	for _, r := range routes {
		refs := r.refsTo(service)
		for _, p := range ports {
			if !r.attaches(refs, svc, p) {
				continue
			}
			at := portFor{p.Port, r.source.Namespace}
			if first := out.decide[at]; len(first) > 0 && first[0].precedence != r.precedence {
				out.beats(first[0], r, p.Port)
				continue
			}
			out.decide[at] = append(out.decide[at], r)
			if at.namespace != svc.Namespace {
				consumers[at.namespace] = true
			}
		}
	}
	out.consumers = slices.Sorted(maps.Keys(consumers))
	for _, p := range ports {
		for _, ns := range append(slices.Clone(out.consumers), svc.Namespace) {
			rs := out.decide[portFor{p.Port, ns}]
			if len(rs) < 2 || !rs[0].IsOpaque() {
				continue
			}
			taking := map[model.Object]bool{}
			for _, c := range meshClaims(rs) {
				taking[c.source] = true
			}
			for _, r := range rs {
				if !taking[r.source] {
					out.beats(rs[0], r, p.Port)
				}
			}
		}
	}
	return out
}

// beats records that a route keeps another from having an effect on a port, which is not below those before.
func (m *MeshRoutes) beats(by, r *Route, port uint16) {
	rivals := m.rivals[r.source]
	i := slices.IndexFunc(rivals, func(x MeshRival) bool { return x.By == by.source })
	if i < 0 {
		m.rivals[r.source] = append(rivals, MeshRival{by.source, []uint16{port}})
		return
	}
	if ps := rivals[i].Ports; ps[len(ps)-1] != port {
		rivals[i].Ports = append(ps, port)
	}
}

// refsTo are the route's parentRefs to a Service.
func (r *Route) refsTo(service model.Key) []gwapiv1.ParentReference {
	var out []gwapiv1.ParentReference
	for _, ref := range r.parents {
		if to, ok := parentOf(r.source.Namespace, ref); ok && to == (model.Object{Kind: KindService, Namespace: service.Namespace, Name: service.Name}) {
			out = append(out, ref)
		}
	}
	return out
}

// Same reports whether both have the same routes, unchanged, and these decide for the same ports.
func (m MeshRoutes) Same(o MeshRoutes) bool {
	return maps.EqualFunc(m.decide, o.decide, slices.Equal[[]*Route]) && maps.EqualFunc(m.rivals, o.rivals, sameRivals)
}

func sameRivals(a, b []MeshRival) bool {
	return slices.EqualFunc(a, b, func(a, b MeshRival) bool { return a.By == b.By && slices.Equal(a.Ports, b.Ports) })
}

// Rivals are the routes that keep others from having an effect, by the other route.
func (m MeshRoutes) Rivals() map[model.Object][]MeshRival { return m.rivals }

// Sharing are the namespaces with routes for some of the Service's ports, sorted, by the port for which they have
// none: the clients of these are served by the routes of the Service's namespace, in a table of their own.
func (m MeshRoutes) Sharing(svc model.Service) map[uint16][]string {
	if len(m.consumers) == 0 {
		return nil
	}
	out := map[uint16][]string{}
	for _, p := range svc.Ports {
		if p.Protocol == model.UDP || out[p.Port] != nil {
			continue
		}
		for _, ns := range m.consumers {
			if len(m.decide[portFor{p.Port, ns}]) == 0 {
				out[p.Port] = append(out[p.Port], ns)
			}
		}
	}
	return out
}

// of are the routes of a namespace that decide for a port.
func (m MeshRoutes) of(port uint16, namespace string) []*Route {
	return m.decide[portFor{port, namespace}]
}

// deciding are the routes that decide for clients of a namespace, or for all without routes of their own if it is empty.
func (m MeshRoutes) deciding(svc model.Service, port uint16, consumer string) []*Route {
	if consumer != "" && consumer != svc.Namespace {
		// GEP-1294: a consumer's routes replace the producer's, they are not merged.
		if own := m.of(port, consumer); len(own) > 0 {
			return own
		}
	}
	return m.of(port, svc.Namespace)
}

// tablesOn are the tables of a Service's port that hold the rules of a route of a namespace, which decides for it.
func tablesOn(svc model.Service, port uint16, namespace string, sharing map[uint16][]string) []string {
	out := names.Out{Namespace: svc.Namespace, Service: svc.Name, Port: port}
	if namespace != svc.Namespace {
		out.Consumer = namespace
		return []string{out.String()}
	}
	tables := []string{out.String()}
	for _, ns := range sharing[port] { // consumers with routes for other ports only keep the producer's here
		out.Consumer = ns
		tables = append(tables, out.String())
	}
	return tables
}

// rivalOn is the route that keeps another from having an effect on a port.
func rivalOn(rivals []MeshRival, port uint16) (by *Route, ok bool) {
	for _, x := range rivals {
		if _, found := slices.BinarySearch(x.Ports, port); found {
			return &Route{source: x.By}, true
		}
	}
	return nil, false
}
