// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"cmp"
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/virtualhost"
)

// RouteParts are what a route has in the tables of Gateways, sorted by table; none for an opaque route.
func RouteParts(l Lookup, r *Route) []model.RoutePart {
	if r.IsOpaque() {
		return nil
	}
	var out []model.RoutePart
	for _, gw := range gatewaysOf(l, r) {
		certificate := model.Key{}
		if _, ok := ClientCertificate(l, keyOf(gw)); ok {
			certificate = keyOf(gw)
		}
		usable, attached, idle := usableOn(l, gw, 0), attachmentsOf(l, gw), clientSettings(gw).StreamIdle
		at, ports := map[string]int{}, map[uint16][]listener{}
		for i := range usable {
			li := &usable[i]
			if li.bytes {
				continue
			}
			a, ok := attached.of(li, r)
			if !ok {
				continue
			}
			table := li.table(gw)
			j, ok := at[table]
			if !ok {
				j = len(out)
				at[table] = j
				p := r.part(site{l: l, port: li.port, certificate: certificate, idle: idle}.build)
				out = append(out, model.RoutePart{Table: table, Source: r.source, Part: *p})
			}
			if ports[li.port] == nil {
				ports[li.port] = onPort(usable, li.port)
			}
			out[j].Claims = append(out[j].Claims, a.claim(li, ports[li.port]))
		}
	}
	slices.SortFunc(out, func(a, b model.RoutePart) int { return cmp.Compare(a.Table, b.Table) })
	return out
}

// part reads the rules; build makes each of its matches.
func (r *Route) part(build func(*Route, rule, match) model.Rule) *virtualhost.Part[model.Rule] {
	p := &virtualhost.Part[model.Rule]{Created: r.created, Namespace: r.source.Namespace, Name: r.source.Name, Kind: r.source.Kind}
	for _, u := range r.rules {
		for _, m := range u.matches {
			for _, m := range append([]match{m}, u.preflights(m)...) {
				p.Rules = append(p.Rules, virtualhost.Rule[model.Rule]{Rank: m.rank, Rule: build(r, u, m)})
			}
		}
	}
	return p
}

// claim is the attachment to a listener, which is one of all, the usable ones of its port.
func (a attachment) claim(li *listener, all []listener) virtualhost.Claim {
	c := virtualhost.Claim{Listener: li.hostname, Hostnames: a.hostnames}
	if len(c.Hostnames) == 0 {
		c.Hostnames = []string{""}
	}
	for _, h := range a.hosts {
		if owner(all, h) == li.id {
			c.Domains = append(c.Domains, h)
		}
	}
	return c
}

// gatewaysOf are the Gateways of ours that a route names, or whose ListenerSets it names, each once.
func gatewaysOf(l Lookup, r *Route) []*gwapiv1.Gateway {
	var out []*gwapiv1.Gateway
	for _, ref := range r.parents {
		to, ok := parentOf(r.source.Namespace, ref)
		if !ok || to.Kind == KindService {
			continue
		}
		if gw, ours := gatewayBehind(l, to); ours && !slices.Contains(out, gw) {
			out = append(out, gw)
		}
	}
	return out
}

// SendingGateways are the Gateways of ours, each once, sorted, that begin TLS where a policy of one of the ports of a
// Service says so: their routes send to it and may. A route of bytes counts on listeners that end TLS, because what comes
// by others may be the client's own TLS.
func SendingGateways(l Lookup, svc model.Service) (out []model.Key) {
	seen := map[model.Object]bool{} // a route may send to many ports
	for _, p := range svc.Ports {
		for _, k := range RouteKinds() {
			if k.IsUDP() {
				continue
			}
			for _, r := range l.Senders(OfKind[model.PortKey]{k.Name, model.PortKey{Service: svc.Key, Port: p.Port}}) {
				if seen[r.source] || !mayRefer(l, grantee{k.Name, r.source.Namespace}, KindService, svc.Key) {
					continue
				}
				seen[r.source] = true
				for _, gw := range gatewaysOf(l, r) {
					if !k.IsOpaque() || r.behindTLS(l, gw) {
						out = append(out, keyOf(gw))
					}
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b model.Key) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return slices.Compact(out)
}

// behindTLS reports whether the route is attached to a listener of the Gateway that ends TLS.
func (r *Route) behindTLS(l Lookup, gw *gwapiv1.Gateway) bool {
	attached, ls := attachmentsOf(l, gw), listenersOf(l, gw)
	for i := range ls {
		if _, ok := attached.of(&ls[i], r); ok && ls[i].terminates() {
			return true
		}
	}
	return false
}

// On is a listener of a Gateway, or of one of its ListenerSets, that a route is attached to.
type On struct {
	Gateway model.Key
	// Listener tells the listeners of a Gateway and of its ListenerSets from each other.
	Listener string
}

// RouteOn are the listeners that a route is attached to, whether they are valid or not.
func RouteOn(l Lookup, r *Route) []On {
	var out []On
	for _, gw := range gatewaysOf(l, r) {
		attached, ls := attachmentsOf(l, gw), listenersOf(l, gw)
		for _, p := range r.Parents() {
			parent := p.To
			if parent.Kind != KindListenerSet {
				continue
			}
			if to, ours := gatewayBehind(l, parent); ours && to == gw {
				ls = append(ls, excessOf(l, gw, parent, countOf(ls, parent))...)
			}
		}
		for i := range ls {
			if _, ok := attached.of(&ls[i], r); ok {
				out = append(out, On{keyOf(gw), ls[i].id})
			}
		}
	}
	return out
}

// countOf is how many of the listeners an object lists.
func countOf(ls []listener, of model.Object) (n int) {
	for i := range ls {
		if ls[i].of == of {
			n++
		}
	}
	return n
}

func keyOf(gw *gwapiv1.Gateway) model.Key { return model.Key{Namespace: gw.Namespace, Name: gw.Name} }
