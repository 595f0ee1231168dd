// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"fmt"
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/virtualhost"
)

// claim is what a route takes: the TLS server names in hosts ("" is any), or without hosts everything.
type claim struct {
	*Route
	hosts []string
}

// claims are who takes what, from the first in precedence to the last; no host stands in two of them.
type claims []claim

// add gives a route those of its hosts that are not taken yet.
func (cs claims) add(r *Route, hosts []string, taken map[string]bool) claims {
	var free []string
	for _, h := range hosts {
		if !taken[h] {
			taken[h] = true
			free = append(free, h)
		}
	}
	if len(free) == 0 {
		return cs
	}
	slices.SortFunc(free, virtualhost.Narrower)
	return append(cs, claim{r, free})
}

// takes tells whether a route has anything of it.
func takes(cs claims, r *Route) bool {
	return slices.ContainsFunc(cs, func(c claim) bool { return c.source == r.source })
}

// left is the finding on a route that is good, but takes no connection. By Gateway API's conflict
// resolution it is accepted all the same, and takes over when what comes before it goes: an older
// route, or, where first is nil, a listener with a more specific host name.
func left(first *Route) Finding { return leftBy(&first.source) }

// leftBy is left.
func leftBy(first *model.Object) Finding {
	why := "other listeners of the port have more specific hostnames"
	if first != nil {
		why = fmt.Sprintf("%s %s/%s comes before it and takes its traffic", first.Kind, first.Namespace, first.Name)
	}
	return Finding{true, string(gwapiv1.RouteReasonAccepted), "The route is accepted, but has no effect: " + why}
}

// ownHostnames are the host names of the route, "" for any.
func (r *head) ownHostnames() []string {
	if len(r.hostnames) == 0 {
		return []string{""}
	}
	return r.hostnames
}

// meshClaims are who takes the connections to a Service port, of the routes that decide over it.
func meshClaims(routes []*Route) claims {
	var out claims
	taken := map[string]bool{}
	for _, r := range routes {
		if !r.byServerName {
			return claims{{r, nil}}
		}
		hosts := r.hostnames
		if len(hosts) == 0 {
			hosts = []string{""}
		}
		out = out.add(r, hosts, taken)
	}
	return out
}

// GatewayUDPPortNumbers is GatewayPortNumbers for UDP.
func GatewayUDPPortNumbers(l Lookup, gateway model.Key) []uint16 {
	gw, ok := gatewayOf(l, gateway)
	if !ok || refusal(gw) != nil {
		return nil
	}
	return portsOf(slices.DeleteFunc(listenersOf(l, gw), func(li listener) bool { return !li.usable() || !li.udp }))
}

// GatewayUDPPort is GatewayPort for UDP.
func GatewayUDPPort(l Lookup, gateway model.Key, port uint16) (p model.GatewayPort, ok bool) {
	gw, ok := gatewayOf(l, gateway)
	if !ok || refusal(gw) != nil {
		return p, false
	}
	for _, li := range listenersOf(l, gw) {
		if li.udp && li.port == port && li.usable() {
			return model.GatewayPort{Gateway: gateway, Port: port, UDP: true, Sections: []model.GatewaySection{li.section(gw, nil)}}, true
		}
	}
	return p, false
}

// GatewayStreams says where a listener for bytes sends: section is its name, which on is one of a port
// that GatewayPort or GatewayUDPPort knows; of on only Gateway, Port and UDP are read.
func GatewayStreams(l Lookup, on model.GatewayPort, section string) (t model.StreamTable, ok bool) {
	gw, ok := gatewayOf(l, on.Gateway)
	if !ok || refusal(gw) != nil {
		return t, false
	}
	all := l.Listeners(on.Gateway).list
	i := slices.IndexFunc(all, func(li listener) bool {
		return li.bytes && li.id == section && li.usable() && li.port == on.Port && li.udp == on.UDP
	})
	if i < 0 {
		return t, false
	}
	own := &all[i]
	t.Name, t.UDP = own.table(gw), on.UDP
	covered := false
	at := site{l: l, endsTLS: own.terminates()}
	if _, ok := ClientCertificate(l, on.Gateway); ok && at.endsTLS {
		at.certificate = on.Gateway
	}
	for _, c := range claimsOn(l, on.Gateway, own) {
		t.Streams = append(t.Streams, at.stream(c))
		covered = covered || slices.Contains(c.hosts, own.hostname)
	}
	if own.tls && own.hostname != "" && !covered {
		// Without a stream of its own the listener's name would fall to a broader listener.
		t.Streams = append(t.Streams, model.Stream{Hosts: []string{own.hostname}})
	}
	return t, true
}

// claimsOn are who takes what of a listener of a Gateway.
func claimsOn(l Lookup, gateway model.Key, li *listener) (out claims) {
	for _, t := range l.Takers(On{gateway, li.id}) {
		o, _ := t.Precedence.at(li.id)
		out = append(out, claim{t.Route, o.hosts})
	}
	slices.SortFunc(out, func(a, b claim) int {
		return cmp.Or(cmp.Compare(slices.Index(li.fits, a.source.Kind), slices.Index(li.fits, b.source.Kind)), older(a.Route, b.Route))
	})
	return out
}

// MeshStreams says where connections of clients of a namespace to a Service port go, as MeshTable does
// for requests; ok is false where no TLSRoute or TCPRoute decides. What no TLSRoute takes is closed:
// the routes of a port are all there is.
func MeshStreams(l Lookup, port model.PortKey, consumer string) (t model.StreamTable, ok bool) {
	svc, ok := l.Service(port.Service)
	if !ok || noFrontend(svc) != "" {
		return t, false
	}
	sp, ok := portOf(svc, port.Port)
	if !ok || sp.Protocol == model.UDP {
		return t, false
	}
	if consumer == svc.Namespace {
		consumer = ""
	}
	routes := l.MeshRoutes(svc.Key).deciding(svc, sp.Port, consumer)
	if len(routes) == 0 || !routes[0].IsOpaque() {
		return t, false
	}
	t.Name = names.Out{Namespace: svc.Namespace, Service: svc.Name, Port: port.Port, Consumer: consumer}.String()
	for _, c := range meshClaims(routes) {
		t.Streams = append(t.Streams, site{l: l, mesh: true}.stream(c))
	}
	return t, true
}

// stream is what a claim's route does with its connections.
func (s site) stream(c claim) model.Stream {
	out := model.Stream{Source: c.source, Hosts: c.hosts}
	if len(c.rules) == 0 {
		return out
	}
	u := c.rules[0]
	out.Name = u.name
	usable := false
	for _, b := range u.backends {
		if b.weight == 0 {
			continue
		}
		t, p := s.resolve(c.Route, b.field, b.ref)
		if p != nil {
			out.Backends = append(out.Backends, model.WeightedBackend{Weight: b.weight, Invalid: true})
			continue
		}
		usable = true
		out.Affinity = out.Affinity || t.affinity
		out.Backends = append(out.Backends, model.WeightedBackend{Backend: t.port, As: t.as, Via: t.via, Weight: b.weight})
	}
	if !usable {
		out.Backends = nil
	}
	return out
}

// StreamsForNode is ForNode for streams.
func StreamsForNode(t model.StreamTable, port model.PortKey, node string) model.StreamTable {
	out := model.StreamTable{
		Name:    names.Out{Namespace: port.Service.Namespace, Service: port.Service.Name, Port: port.Port, Node: node}.String(),
		Streams: slices.Clone(t.Streams),
	}
	for i := range out.Streams {
		s := &out.Streams[i]
		s.Backends = slices.Clone(s.Backends)
		for k := range s.Backends {
			if b := &s.Backends[k]; b.Backend.Service == port.Service {
				b.Node = node
			}
		}
	}
	return out
}
