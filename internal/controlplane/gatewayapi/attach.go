// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"slices"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/virtualhost"
)

// attachments are the routes that name a Gateway, read once for all its listeners and no sooner than needed.
type attachments struct {
	l  Lookup
	gw *gwapiv1.Gateway
	// routes by kind and parent, from old to new; nil before they are asked for.
	routes map[OfKind[model.Object]][]*Route
	// losers tells, by listener, which route keeps another from being in effect.
	losers map[string]map[model.Object]*Route
}

// attachment is a route on a listener, for the host names they have in common.
type attachment struct {
	*Route
	hosts []string
}

func attachmentsOf(l Lookup, gw *gwapiv1.Gateway) *attachments {
	return &attachments{
		l: l, gw: gw, routes: map[OfKind[model.Object]][]*Route{}, losers: map[string]map[model.Object]*Route{},
	}
}

func (a *attachments) ofKind(kind string, on model.Object) []*Route {
	k := OfKind[model.Object]{kind, on}
	if rs, ok := a.routes[k]; ok {
		return rs
	}
	rs := a.l.Routes(k)
	slices.SortFunc(rs, older)
	a.routes[k] = rs
	return rs
}

// on are the routes in effect on a listener. Routes of bytes are attached even where older ones leave
// them no connection: see streams.
func (a *attachments) on(li *listener) []attachment {
	var out []attachment
	for _, kind := range li.fits {
		for _, r := range a.ofKind(kind, li.of) {
			if at, ok := a.of(li, r); ok {
				out = append(out, at)
			}
		}
	}
	return out
}

// of is a route on a listener; ok is false where it is not in effect there.
func (a *attachments) of(li *listener, r *Route) (at attachment, ok bool) {
	hosts := a.fit(li, r)
	return attachment{r, hosts}, len(hosts) > 0 && r.valid() && a.loses(li, r) == nil
}

// fit are the host names of a route on a listener, none where it does not attach.
func (a *attachments) fit(li *listener, r *Route) []string {
	chosen := slices.ContainsFunc(r.parents, func(ref gwapiv1.ParentReference) bool {
		to, ok := parentOf(r.source.Namespace, ref)
		return ok && to == li.of && li.selectedBy(ref)
	})
	if !chosen || !li.allows(a.l, r) {
		return nil
	}
	return li.hostsOf(r)
}

// loses returns the route that keeps r, which fits the listener, from being in effect: where an
// HTTPRoute and a GRPCRoute meet in a host name only the older is (GRPCRouteSpec.hostnames). Most
// Gateways have routes of one kind; then the others are neither read nor depended on.
func (a *attachments) loses(li *listener, r *Route) *Route {
	if r.IsOpaque() {
		return nil
	}
	known := a.losers[li.id]
	if known == nil {
		known = map[model.Object]*Route{}
		a.losers[li.id] = known
	}
	if w, ok := known[r.source]; ok {
		return w
	}
	known[r.source] = a.rival(li, r)
	return known[r.source]
}

// rival looks for the oldest route of another kind that is in effect and meets r. It asks about older and older
// routes, so that it comes to an end.
func (a *attachments) rival(li *listener, r *Route) *Route {
	hosts := li.hostsOf(r)
	var oldest *Route
	for _, kind := range li.fits {
		if kind == r.source.Kind {
			continue
		}
		for _, x := range a.ofKind(kind, li.of) {
			if older(x, r) > 0 || oldest != nil && older(x, oldest) > 0 {
				break
			}
			if virtualhost.MeetAny(a.fit(li, x), hosts) && x.valid() && a.loses(li, x) == nil {
				oldest = x
				break
			}
		}
	}
	return oldest
}
