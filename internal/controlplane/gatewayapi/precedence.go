// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"math"
	"reflect"
	"slices"
	"strings"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/virtualhost"
)

// Candidate is the part of a route that conflict resolution between the routes of a Gateway or ListenerSet reads: all
// but its rules.
type Candidate struct {
	head
	valid bool
}

// Candidate returns what other routes of the same Gateways and ListenerSets depend on; ok is false if the route names
// none of these.
func (r *Route) Candidate() (c *Candidate, ok bool) {
	c = &Candidate{r.head, r.valid()}
	return c, len(c.Parents()) > 0
}

// Parents are the Gateways and ListenerSets that the route's parentRefs name; Lookup.Candidates is made from it.
func (c *Candidate) Parents() []OfKind[model.Object] {
	var out []OfKind[model.Object]
	for _, ref := range c.parents {
		if to, ok := parentOf(c.source.Namespace, ref); ok && to.Kind != KindService {
			out = append(out, OfKind[model.Object]{c.source.Kind, to})
		}
	}
	return out
}

// Same reports whether other routes are affected in the same way by both.
func (c *Candidate) Same(o *Candidate) bool {
	return c.source == o.source && c.valid == o.valid && c.created.Equal(o.created) &&
		slices.Equal(c.hostnames, o.hostnames) && reflect.DeepEqual(c.parents, o.parents)
}

// Precedence is the result of conflict resolution for one route of a Gateway or ListenerSet. The zero value is that of a
// route for requests that is in effect wherever it is attached, or of a route of bytes that takes no connections.
type Precedence struct {
	gateway model.Key
	on      []outcome // sorted by listener
}

// outcome is the result on one listener.
type outcome struct {
	listener string // its id
	// by is the route that takes precedence, because of which this one has no effect; nil if there is none.
	by *model.Object
	// takes: a route of bytes takes connections: those with the TLS server names in hosts ("" is any), without hosts all.
	takes bool
	hosts []string
}

func (s Precedence) at(listener string) (o outcome, ok bool) {
	i, ok := slices.BinarySearchFunc(s.on, listener, func(o outcome, id string) int { return strings.Compare(o.listener, id) })
	if !ok {
		return o, false
	}
	return s.on[i], true
}

// Taking are the listeners of which a route of bytes takes connections; Lookup.Takers is made from it.
func (s Precedence) Taking() []On {
	var out []On
	for _, o := range s.on {
		if o.takes {
			out = append(out, On{s.gateway, o.listener})
		}
	}
	return out
}

// Same reports whether both say the same.
func (s Precedence) Same(o Precedence) bool {
	return s.gateway == o.gateway && slices.EqualFunc(s.on, o.on, func(a, b outcome) bool {
		return a.listener == b.listener && a.takes == b.takes && slices.Equal(a.hosts, b.hosts) &&
			(a.by == b.by || a.by != nil && b.by != nil && *a.by == *b.by)
	})
}

// Taker is a route of bytes that takes connections of a listener.
type Taker struct {
	Route      *Route
	Precedence Precedence
}

// ReadPrecedence resolves the conflicts between the routes of a Gateway or ListenerSet for all of them at once. The cost
// is proportional to the host names of the routes and the listeners that they are attached to; no two routes are
// compared. A route without an entry has the zero value. Lookup.Precedence is made from it.
func ReadPrecedence(l Lookup, parent model.Object) map[model.Object]Precedence {
	gw, ok := gatewayBehind(l, parent)
	if !ok {
		return nil
	}
	s := resolution{l: seenNamespaces{l, map[string]namespaceOf{}}, gateway: keyOf(gw), out: map[model.Object]Precedence{}}
	requests, bytes := s.rivals(parent), s.opaque(parent)
	if len(requests) == 0 && len(bytes) == 0 {
		return nil
	}
	s.all = l.Listeners(s.gateway)
	ls := listenersAt(l, gw, parent)
	slices.SortFunc(ls, func(a, b *listener) int { return strings.Compare(a.id, b.id) })
	met, won := conflictingRoutes(requests, ls)
	for _, li := range ls {
		switch {
		case !li.bytes && len(met) > 0:
			s.conflicts(li, met, won)
		case !li.bytes:
		case li.tls:
			s.byServerName(li, bytes)
		default:
			s.first(li, bytes)
		}
	}
	return s.out
}

// resolution is the work of ReadPrecedence.
type resolution struct {
	l       Lookup
	gateway model.Key
	all     Listeners
	out     map[model.Object]Precedence
}

func (s *resolution) add(r *Candidate, o outcome) {
	st := s.out[r.source]
	st.gateway, st.on = s.gateway, append(st.on, o)
	s.out[r.source] = st
}

// candidates are the valid routes of a kind, from old to new.
func (s *resolution) candidates(kind string, parent model.Object) []*Candidate {
	out := slices.DeleteFunc(s.l.Candidates(OfKind[model.Object]{kind, parent}), func(c *Candidate) bool { return !c.valid })
	slices.SortFunc(out, func(a, b *Candidate) int { return a.compare(&b.head) })
	return out
}

// opaque are the routes of bytes, by kind.
func (s *resolution) opaque(parent model.Object) map[string][]*Candidate {
	out := map[string][]*Candidate{}
	for _, k := range RouteKinds() {
		if !k.IsOpaque() {
			continue
		}
		if cs := s.candidates(k.Name, parent); len(cs) > 0 {
			out[k.Name] = cs
		}
	}
	return out
}

// rivals are the routes for requests, from old to new; none where all are of one kind. Most Gateways have HTTPRoutes
// only, and then these are not read.
func (s *resolution) rivals(parent model.Object) (out []*Candidate) {
	kinds := slices.DeleteFunc(RouteKinds(), func(k RouteKind) bool { return k.IsOpaque() })
	slices.Reverse(kinds)
	n := 0
	for i, k := range kinds {
		if n == 0 && i == len(kinds)-1 {
			return nil
		}
		if cs := s.candidates(k.Name, parent); len(cs) > 0 {
			n++
			out = append(out, cs...)
		}
	}
	if n < 2 {
		return nil
	}
	slices.SortFunc(out, func(a, b *Candidate) int { return a.compare(&b.head) })
	return out
}

// attached returns which routes a listener lets attach.
func (s *resolution) attached(li *listener) func(*Candidate) bool {
	admitted := map[string]bool{}
	return func(c *Candidate) bool {
		if !slices.Contains(li.kinds, c.source.Kind) || !li.chosenBy(&c.head) {
			return false
		}
		ok, known := admitted[c.source.Namespace]
		if !known {
			ok = li.admits(s.l, c.source.Namespace)
			admitted[c.source.Namespace] = ok
		}
		return ok
	}
}

// conflicts finds, of routes from old to new, those that are not in effect on a listener: where an HTTPRoute and a
// GRPCRoute meet in a host name only the older is (GRPCRouteSpec.hostnames). One that is not in effect keeps no other
// from it.
func (s *resolution) conflicts(li *listener, routes []conflictingRoute, won *hostIndex) {
	won.clear()
	attached := s.attached(li)
	for n, c := range routes {
		if !attached(c.Candidate) {
			continue
		}
		first := math.MaxInt
		c.meet(li, func(h string) { first = min(first, won.other(c.source.Kind, h)) })
		if first < n {
			s.add(c.Candidate, outcome{listener: li.id, by: &routes[first].source})
			continue
		}
		c.meet(li, func(h string) { won.add(c.source.Kind, h, n) })
	}
}

// byServerName finds who takes what comes to a listener whose connections have a TLS server name. Of several routes that
// have a name in common with the listener, the one whose own host name is the most specific takes it, of several the
// oldest (TLSRouteSpec.hostnames). A TCPRoute, which has no host names, takes what TLSRoutes leave. A server name
// belongs to the listener with the most specific host name.
func (s *resolution) byServerName(li *listener, routes map[string][]*Candidate) {
	if !li.usable() {
		return // no connection comes
	}
	type claim struct {
		n  int    // of on
		by string // the route's own host name
	}
	var on []*Candidate
	attached, claims := s.attached(li), map[string]claim{}
	for _, kind := range li.fits {
		for _, c := range routes[kind] {
			if !attached(c) {
				continue
			}
			meets := false
			for _, h := range c.ownHostnames() {
				common, ok := virtualhost.Meet(li.hostname, h)
				meets = meets || ok
				if !ok || s.all.owner(li.socket(), common) != li.id {
					continue
				}
				if old, taken := claims[common]; !taken || virtualhost.Narrower(h, old.by) < 0 {
					claims[common] = claim{len(on), h}
				}
			}
			if meets {
				on = append(on, c)
			}
		}
	}
	for n, c := range on {
		o, first := outcome{listener: li.id}, len(on)
		for _, h := range li.hostsOf(&c.head) {
			if at, taken := claims[h]; taken && at.n == n {
				o.hosts = append(o.hosts, h)
			} else if taken {
				first = min(first, at.n)
			}
		}
		switch {
		case len(o.hosts) > 0:
			slices.SortFunc(o.hosts, virtualhost.Narrower)
			o.takes = true
		case first < len(on):
			o.by = &on[first].source
		default: // other listeners have all of its names
			continue
		}
		s.add(c, o)
	}
}

// first finds who takes all that comes to a listener: the oldest route.
func (s *resolution) first(li *listener, routes map[string][]*Candidate) {
	attached := s.attached(li)
	var first *Candidate
	for _, kind := range li.fits {
		for _, c := range routes[kind] {
			switch {
			case !attached(c) || len(li.hostsOf(&c.head)) == 0:
			case first == nil:
				first = c
				s.add(c, outcome{listener: li.id, takes: true})
			default:
				s.add(c, outcome{listener: li.id, by: &first.source})
			}
		}
	}
}
