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
		if refusal(gw) != nil {
			continue
		}
		ls, attached, idle := l.Listeners(keyOf(gw)), attachmentsOf(l, r), clientSettings(gw).StreamIdle
		at, ports := map[string]int{}, map[uint16]*virtualhost.Part[model.Rule]{}
		for i := range ls.list {
			li := &ls.list[i]
			if li.bytes || !li.usableOn(0) {
				continue
			}
			a, ok := attached.on(li)
			if !ok {
				continue
			}
			table := li.table(gw)
			j, ok := at[table]
			if !ok {
				j = len(out)
				at[table] = j
				p := ports[li.port]
				if p == nil { // the tables of a port share the rules
					p = r.part(site{l: l, port: li.port, certificate: certificate, idle: idle}.build)
					ports[li.port] = p
				}
				out = append(out, model.RoutePart{Table: table, Source: r.source, Part: *p})
			}
			if c := a.claim(li, ls); len(c.Domains) > 0 {
				out[j].Claims = append(out[j].Claims, c)
			}
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

// claim is the attachment to a listener, which is a usable one of all. Only host names by which the route gets requests
// of the listener are in it, and of those that cover the listener's own only the most specific one: so the claims of a
// port have in all no more host names than the route and the port's listeners together.
func (a attachment) claim(li *listener, all Listeners) virtualhost.Claim {
	c := virtualhost.Claim{Listener: li.hostname}
	for _, h := range a.hosts {
		if all.owner(li.socket(), h) == li.id {
			c.Domains = append(c.Domains, h)
		}
	}
	broad, covered := "", false
	for _, h := range a.ownHostnames() {
		switch {
		case !virtualhost.Covers(h, li.hostname):
			if slices.Contains(c.Domains, h) && !slices.Contains(c.Hostnames, h) {
				c.Hostnames = append(c.Hostnames, h)
			}
		case !covered || virtualhost.Narrower(h, broad) < 0:
			broad, covered = h, true
		}
	}
	if covered {
		c.Hostnames = append(c.Hostnames, broad)
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
	attached, ls := attachmentsOf(l, r), l.Listeners(keyOf(gw)).list
	for i := range ls {
		if !ls[i].terminates() {
			continue
		}
		if _, ok := attached.on(&ls[i]); ok {
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

// RouteOn are the listeners that a route is attached to, each once, whether they are valid or not.
func RouteOn(l Lookup, r *Route) []On {
	var out []On
	attached, seen := attachmentsOf(l, r), map[model.Object]bool{}
	for _, p := range r.Parents() {
		if p.To.Kind == KindService || seen[p.To] {
			continue
		}
		seen[p.To] = true
		gw, ours := gatewayBehind(l, p.To)
		if !ours {
			continue
		}
		for _, li := range listenersAt(l, gw, p.To) {
			if _, ok := attached.on(li); ok {
				out = append(out, On{keyOf(gw), li.id})
			}
		}
	}
	return out
}

func keyOf(gw *gwapiv1.Gateway) model.Key { return model.Key{Namespace: gw.Namespace, Name: gw.Name} }
