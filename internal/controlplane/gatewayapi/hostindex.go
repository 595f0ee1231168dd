// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"math"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/virtualhost"
)

// conflictingRoute is a route for requests with those of its host names that have a name in common with one of a route
// of another kind. The other host names are in no conflict on any listener.
type conflictingRoute struct {
	*Candidate
	hosts []string
}

// conflictingRoutes returns those of the routes that have such host names, in their order, and an empty index for what
// they have in common with listeners.
func conflictingRoutes(routes []*Candidate, ls []*listener) (out []conflictingRoute, on *hostIndex) {
	all := &hostIndex{wild: map[virtualhost.Pattern]bool{}}
	for _, c := range routes {
		for _, h := range c.ownHostnames() {
			all.note(h)
		}
	}
	for n, c := range routes {
		for _, h := range c.ownHostnames() {
			all.add(c.source.Kind, h, n)
		}
	}
	for _, c := range routes {
		var hosts []string
		for _, h := range c.ownHostnames() {
			if all.other(c.source.Kind, h) != math.MaxInt {
				hosts = append(hosts, h)
			}
		}
		if len(hosts) > 0 {
			out = append(out, conflictingRoute{c, hosts})
		}
	}
	on = &hostIndex{wild: map[virtualhost.Pattern]bool{}}
	for _, c := range out {
		for _, h := range c.hosts {
			on.note(h)
		}
	}
	for _, li := range ls {
		on.note(li.hostname)
	}
	return out, on
}

// meet calls f for the host names that the route has in common with a listener.
func (c *conflictingRoute) meet(li *listener, f func(string)) {
	for _, h := range c.hosts {
		if common, ok := virtualhost.Meet(li.hostname, h); ok {
			f(common)
		}
	}
}

// hostIndex finds, of the routes that were added, the first one of another kind that has a name in common with a host
// name. Routes are numbers, and are added in their order. Its size is that of the host names, however they overlap.
type hostIndex struct {
	wild  map[virtualhost.Pattern]bool // the wildcards of all host names that will be added or looked up
	kinds []kindIndex
}

type kindIndex struct {
	kind      string
	at, under map[virtualhost.Pattern]int // the first route with the host name itself, and with one that it covers
}

// note announces a host name that will be added or looked up.
func (x *hostIndex) note(host string) {
	if p := virtualhost.PatternOf(host); p.IsWild() {
		x.wild[p] = true
	}
}

// clear removes all routes.
func (x *hostIndex) clear() {
	for i := range x.kinds {
		clear(x.kinds[i].at)
		clear(x.kinds[i].under)
	}
}

// add adds a host name of route n.
func (x *hostIndex) add(kind, host string, n int) {
	var of *kindIndex
	for i := range x.kinds {
		if x.kinds[i].kind == kind {
			of = &x.kinds[i]
		}
	}
	if of == nil {
		x.kinds = append(x.kinds, kindIndex{kind, map[virtualhost.Pattern]int{}, map[virtualhost.Pattern]int{}})
		of = &x.kinds[len(x.kinds)-1]
	}
	p := virtualhost.PatternOf(host)
	if _, ok := of.at[p]; !ok {
		of.at[p] = n
	}
	for q := range p.Covering {
		if _, ok := of.under[q]; !ok && x.wild[q] {
			of.under[q] = n
		}
	}
}

// other returns the first route of another kind that has a name in common with the host name; math.MaxInt if there is
// none.
func (x *hostIndex) other(kind, host string) int {
	first, p := math.MaxInt, virtualhost.PatternOf(host)
	for i := range x.kinds {
		of := &x.kinds[i]
		if of.kind == kind {
			continue
		}
		for q := range p.Covering {
			if n, ok := of.at[q]; ok {
				first = min(first, n)
			}
		}
		if n, ok := of.under[p]; ok {
			first = min(first, n)
		}
	}
	return first
}

// seenNamespaces reads each namespace once.
type seenNamespaces struct {
	Lookup
	seen map[string]namespaceOf
}

type namespaceOf struct {
	model.Namespace
	ok bool
}

func (s seenNamespaces) Namespace(name string) (model.Namespace, bool) {
	n, known := s.seen[name]
	if !known {
		n.Namespace, n.ok = s.Lookup.Namespace(name)
		s.seen[name] = n
	}
	return n.Namespace, n.ok
}
