// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/virtualhost"
)

// MeshTable is the table of a Service port for clients of the namespace consumer, or for all others
// where consumer is empty, and the protocol those clients are to be served with (GEP-1294). Without a
// route all goes to the Service itself. The table is nil where proto is TCP: see MeshStreams. ok is false where the
// port has no frontend: no such TCP port, or a Service that is headless or of type ExternalName.
func MeshTable(l Lookup, port model.PortKey, consumer string) (table *model.RouteTable, proto model.Protocol, ok bool) {
	svc, ok := l.Service(port.Service)
	if !ok || noFrontend(svc) != "" {
		return nil, "", false
	}
	sp, ok := portOf(svc, port.Port)
	if !ok || sp.Protocol == model.UDP {
		return nil, "", false
	}
	if consumer == svc.Namespace {
		consumer = ""
	}
	proto, _ = l.Protocol(port)
	routes := l.MeshRoutes(svc.Key).deciding(svc, sp.Port, consumer)
	if len(routes) > 0 && routes[0].IsOpaque() {
		return nil, model.TCP, true
	}
	if !proto.IsHTTP() && len(routes) > 0 {
		proto = routes[0].protocol
	}
	if !proto.IsHTTP() {
		return nil, proto, true
	}
	if len(routes) == 0 {
		t := UnroutedTable(l, svc, sp, consumer)
		return &t, proto, true
	}
	parts := make([]*MeshPart, 0, len(routes))
	for _, r := range routes {
		if p := l.MeshPart(r); p != nil {
			parts = append(parts, p)
		}
	}
	t := meshTable(svc, sp, consumer, onMeshPort(port.Port, virtualhost.Ordered(parts)))
	return &t, proto, true
}

// MeshPart is what a route says of requests in every table of a Service's port that it is in: its rules, whose
// redirections have Port 0 where it is the port of the Service.
type MeshPart = virtualhost.Part[model.Rule]

// ReadMeshPart builds the rules of a route, once for all tables of Services; nil for an opaque route and for one that
// has no Service as parent.
func ReadMeshPart(l Lookup, r *Route) *MeshPart {
	if r.precedence == 0 || r.IsOpaque() {
		return nil
	}
	ofService := func(p OfKind[model.Object]) bool { return p.To.Kind == KindService }
	if !slices.ContainsFunc(r.Parents(), ofService) {
		return nil
	}
	return r.part(site{l: l, mesh: true}.build)
}

// MeshRules is what the table of that name has of a route which is in it.
func MeshRules(p *MeshPart, table names.Out) model.RouteTable {
	rules := onMeshPort(table.Port, virtualhost.Ordered([]*MeshPart{p}))
	t := model.RouteTable{Name: table.String(), Hosts: []model.VirtualHost{{Rules: rules}}}
	if table.Node == "" {
		return t
	}
	port := model.PortKey{Service: model.Key{Namespace: table.Namespace, Name: table.Service}, Port: table.Port}
	return ForNode(t, port, table.Node)
}

// onMeshPort gives redirections that do not say a port that of the Service. It changes the list.
func onMeshPort(port uint16, rules []model.Rule) []model.Rule {
	for i := range rules {
		if to := rules[i].Redirect; to != nil && to.Port == 0 {
			own := *to
			own.Port = port
			rules[i].Redirect = &own
		}
	}
	return rules
}

// UnroutedTable is the table of a Service port of which no route decides for requests: all go to the
// Service itself. A port whose connections are bytes has it, too, for HTTP connections that were opened
// before it became one.
func UnroutedTable(l Lookup, svc model.Service, p model.ServicePort, consumer string) model.RouteTable {
	return meshTable(svc, p, consumer, []model.Rule{{
		Source:   model.Object{Kind: KindService, Namespace: svc.Namespace, Name: svc.Name},
		Backends: []model.WeightedBackend{{Backend: model.PortKey{Service: svc.Key, Port: p.Port}, Via: site{l: l, mesh: true}.via(svc.Key, p), Weight: 1}},
		Affinity: svc.AffinitySeconds > 0,
	}})
}

func meshTable(svc model.Service, p model.ServicePort, consumer string, rules []model.Rule) model.RouteTable {
	return model.RouteTable{
		Name:  names.Out{Namespace: svc.Namespace, Service: svc.Name, Port: p.Port, Consumer: consumer}.String(),
		Hosts: []model.VirtualHost{{Domains: []string{"*"}, Rules: rules}}, // GEP-1294: hostnames have no effect in a mesh
	}
}

// ForNode is the table of a port of a Service with internalTrafficPolicy Local for the clients on a
// node: the Service itself is reached on that node only, other backends as ever. t is not changed.
func ForNode(t model.RouteTable, port model.PortKey, node string) model.RouteTable {
	out := model.RouteTable{
		Name:  names.Out{Namespace: port.Service.Namespace, Service: port.Service.Name, Port: port.Port, Node: node}.String(),
		Hosts: slices.Clone(t.Hosts),
	}
	for i := range out.Hosts {
		rules := slices.Clone(out.Hosts[i].Rules)
		for j := range rules {
			rules[j].Backends = slices.Clone(rules[j].Backends)
			for k := range rules[j].Backends {
				if b := &rules[j].Backends[k]; b.Backend.Service == port.Service {
					b.Node = node
				}
			}
		}
		out.Hosts[i].Rules = rules
	}
	return out
}

// MeshConsumers are the namespaces, other than the Service's, whose routes are in effect for their own
// clients of at least one port of the Service; sorted.
func MeshConsumers(l Lookup, service model.Key) []string { return l.MeshRoutes(service).consumers }

// noFrontend tells why a Service can't be a parent: nothing tells traffic to it from other traffic.
func noFrontend(svc model.Service) string {
	switch {
	case svc.ExternalName != "":
		return "is of type ExternalName"
	case svc.Headless:
		return "is headless"
	}
	return ""
}

// onService are the routes that name a Service and whose kind can, apart from ExcessRoutes.
func onService(l Lookup, service model.Key) []*Route {
	excess := l.ExcessRoutes(service)
	return slices.DeleteFunc(routesOn(l, service), func(r *Route) bool { return excess[r.source] })
}

// routesOn are the routes that name a Service and whose kind can.
func routesOn(l Lookup, service model.Key) []*Route {
	all := l.Routes(OfKind[model.Object]{To: model.Object{Kind: KindService, Namespace: service.Namespace, Name: service.Name}})
	return slices.DeleteFunc(all, func(r *Route) bool { return r.precedence == 0 })
}

// Attaches reports whether one of the route's parentRefs takes in the port of a Service.
func (r *Route) Attaches(svc model.Service, p model.ServicePort) bool {
	return r.attaches(r.refsTo(svc.Key), svc, p)
}

func (r *Route) attaches(refs []gwapiv1.ParentReference, svc model.Service, p model.ServicePort) bool {
	return slices.ContainsFunc(refs, func(ref gwapiv1.ParentReference) bool { return selects(ref, p) && carries(svc, p, r, ref) })
}

// carries tells whether a port that ref selects may speak what the route looks at. Whatever it speaks is
// bytes. A name or number that says otherwise counts where the route does not name the port and the Service
// has others: who writes a route for a Service's HTTP port does not mean its database port, too.
func carries(svc model.Service, p model.ServicePort, r *Route, ref gwapiv1.ParentReference) bool {
	switch {
	case r.IsOpaque() || p.Protocol.IsHTTP():
		return true
	case p.Protocol != model.TCP || p.Fixed:
		return false
	}
	others := slices.ContainsFunc(svc.Ports, func(o model.ServicePort) bool { return o.Port != p.Port && o.Protocol != model.UDP })
	return !p.Declared || !others || or(ref.Port, 0) != 0 || or(ref.SectionName, "") != ""
}

// selects: port and sectionName must both fit where they are set (ParentReference).
func selects(ref gwapiv1.ParentReference, p model.ServicePort) bool {
	if p.Protocol == model.UDP {
		return false
	}
	if n := or(ref.Port, 0); n != 0 && n != int32(p.Port) {
		return false
	}
	s := or(ref.SectionName, "")
	return s == "" || string(s) == p.Name
}

// parentOf reads a parentRef to a Service, a Gateway or a ListenerSet. Defaults are those of the CRD.
func parentOf(namespace string, ref gwapiv1.ParentReference) (model.Object, bool) {
	group, kind := or(ref.Group, gwapiv1.GroupName), or(ref.Kind, KindGateway)
	if !(IsCore(group) && kind == KindService) && !(group == gwapiv1.GroupName && (kind == KindGateway || kind == KindListenerSet)) {
		return model.Object{}, false
	}
	return model.Object{Kind: string(kind), Namespace: string(or(ref.Namespace, gwapiv1.Namespace(namespace))), Name: string(ref.Name)}, true
}

// Parents are the Services, Gateways and ListenerSets that the route's parentRefs name; Lookup.Routes is made from it.
func (r *Route) Parents() []OfKind[model.Object] {
	var out []OfKind[model.Object]
	for _, ref := range r.parents {
		if p, ok := parentOf(r.source.Namespace, ref); ok {
			out = append(out, OfKind[model.Object]{r.kindOn(p), p})
		}
	}
	return out
}

// kindOn is OfKind.Kind for a parent.
func (r *Route) kindOn(parent model.Object) string {
	if parent.Kind == KindService {
		return "" // those of one kind decide for all
	}
	return r.source.Kind
}
