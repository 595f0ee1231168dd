// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"bytes"
	"slices"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
)

// keepChains is how many replaced filter chains a listener keeps, and keepInAll how many all listeners
// keep together. A chain costs Envoy some 20 to 90 kB of memory. Beyond that the connections of the oldest
// one, or of those that were replaced last, have the drain time to end.
const (
	keepChains = 2
	keepInAll  = 64
)

// present makes what Envoy gets of a resource.
//
// Envoy replaces a filter chain whose contents change, and closes the connections of the former one when
// the drain time is over. A change of which chain takes new connections closes none
// (https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/advanced/matching/matching_listener).
// So a listener of a Service's port keeps the chains that it has had, with names made of their contents,
// beside the one that takes new connections: a route of another kind, or a variant for another client,
// changes where new connections go and closes no connection that stands.
//
// Chains are kept only where nothing but them differs from what this Envoy has: it takes such a change in
// place, and what is kept is not set up anew. So it need not be known any more to the control plane.
func (c *Core) present(t *table, f *flight, name string, best *wire.Resource) wire.Resource {
	switch {
	case t.url == wire.RouteType && best.Name != name:
		if body, err := best.Body(); err == nil {
			return wire.NewResource(t.url, name, best.Version, wire.Renamed(body, name))
		}
	case t.url == wire.ListenerType && names.IsOutbound(name):
		l, ok := split(best)
		if !ok {
			break
		}
		l.Name = name
		if !l.Selects && len(l.Chains) == 1 {
			if kept := c.former(t, f, name, l); len(kept) > 0 {
				l.Chains = append(l.Chains, kept...)
				f.kept[name] = kept
			}
		}
		return wire.NewResource(t.url, name, best.Version, l.Marshal())
	}
	return *best
}

// split takes a listener apart; its chain has the name that Envoy gets.
func split(r *wire.Resource) (wire.Listener, bool) {
	body, err := r.Body()
	if err != nil {
		return wire.Listener{}, false
	}
	l, err := wire.ParseListener(body)
	if err != nil {
		return l, false
	}
	if !l.Selects && len(l.Chains) == 1 {
		l.Chains[0] = wire.NamedByContent(l.Chains[0])
	}
	return l, true
}

// former are the chains that a listener keeps when it becomes l: the one that took new connections until
// now, and those that were kept with it.
func (c *Core) former(t *table, f *flight, name string, l wire.Listener) [][]byte {
	e := t.entries[name]
	h, present := t.has[name]
	if t.bare[name] || !present || h.none || e.good == nil || e.good.Version != h.version {
		return nil
	}
	had, ok := split(e.good)
	if !ok || had.Selects || len(had.Chains) != 1 || !bytes.Equal(had.Rest, l.Rest) {
		return nil
	}
	kept := slices.Concat(had.Chains, t.kept[name])
	kept = slices.DeleteFunc(kept, func(chain []byte) bool { return bytes.Equal(chain, l.Chains[0]) })
	all := 0
	for _, chains := range f.kept {
		all += len(chains)
	}
	for other, chains := range t.kept {
		if _, flies := f.versions[other]; !flies {
			all += len(chains)
		}
	}
	return kept[:min(len(kept), keepChains, max(0, keepInAll-all))]
}

// keep notes the chains that Envoy keeps of a listener.
func (t *table) keep(name string, chains [][]byte) {
	delete(t.bare, name)
	if len(chains) == 0 {
		delete(t.kept, name)
		return
	}
	t.kept[name] = chains
}
