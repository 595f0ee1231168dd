// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
)

// Destinations are clusters that Envoy asks for by name when a connection goes to an address that has no
// listener. The relay subscribes to them, and until the control plane has answered, or if it does not,
// Envoy gets a cluster made here that passes connections untouched.
const (
	// patience is how long a connection waits for the control plane to say what is at its destination.
	patience = time.Second
	// maxDestinations bounds how many of them Envoy has; beyond that those go that were asked for longest
	// ago. Envoy asks again for one that it needs, and connections that it has keep standing.
	maxDestinations = 1000
	// passed is the version of clusters that are made here.
	passed = "passed-untouched"
	// closed is the version of clusters that are made here for what Envoy refused.
	closed = "closed-refused"
	// maxChains bounds the chains of destinations, with those that no scope has any more.
	maxChains = 256
	// addition stands in the version of a listener before that of the chains that were added to it.
	addition = "~"
)

// dialled follows which destinations Envoy asks for, with a request about clusters. With the first one of
// a stream it repeats all that it has ever asked for: among those that it does not have are some that
// connections wait for, and some that went. So these come after those that it has, as far as there is room.
func (c *Core) dialled(t *table, r *wire.Request, first bool) {
	asked := slices.Clone(r.Subscribe)
	has := func(name string) bool { _, ok := r.Versions[name]; return ok }
	if first {
		slices.SortStableFunc(asked, func(a, b string) int {
			switch {
			case has(a) == has(b):
				return 0
			case has(a):
				return -1
			}
			return 1
		})
	}
	for _, name := range asked {
		if !names.IsDestination(name) {
			continue
		}
		if _, known := c.destinations[name]; !known {
			if first && len(c.destinations) >= maxDestinations {
				continue
			}
			c.destinations[name] = c.now
			t.wanted[name], t.changed = true, true
		} else {
			c.order = slices.DeleteFunc(c.order, func(n string) bool { return n == name })
		}
		c.order = append(c.order, name)
		if !first && (t.flight == nil || t.flight.versions[name] == "") {
			delete(t.has, name) // it is to be answered, whatever Envoy had before
		}
		t.dirty[name] = true
	}
	for _, name := range r.Unsubscribe {
		c.leave(t, name)
	}
	for len(c.destinations) > maxDestinations {
		c.leave(t, c.order[0])
	}
	c.pass(t)
}

// leave forgets a destination, and takes it from Envoy.
func (c *Core) leave(t *table, name string) {
	if _, ok := c.destinations[name]; !ok {
		return
	}
	delete(c.destinations, name)
	c.order = slices.DeleteFunc(c.order, func(n string) bool { return n == name })
	delete(t.wanted, name)
	t.dirty[name], t.changed = true, true // t.left stays: no route names it
}

// ofScope reports whether a name is in the scope, unlike those of destinations, for which nothing else waits.
func ofScope(name string) bool { return !names.IsDestination(name) }

// ofScope reports whether there is such a flight, and it has anything but destinations.
func (f *flight) ofScope() bool {
	if f == nil {
		return false
	}
	for name := range f.versions {
		if ofScope(name) {
			return true
		}
	}
	return len(f.versions)+len(f.removed) == 0 || slices.ContainsFunc(f.removed, ofScope)
}

// pass answers for the control plane where that does not. Nothing else is known of these destinations, so
// connections pass as they would have without asking. A control plane whose scopes have no chains knows of
// no destinations.
func (c *Core) pass(t *table) {
	asked := c.up && (len(c.inScope) > 0 || !c.known)
	for name, since := range c.destinations {
		e := t.entry(name)
		if e.answered() || asked && c.now.Sub(since) < patience {
			continue
		}
		if r := likeness(t.entries[names.Passthrough], name, passed); r != nil {
			e.next, t.dirty[name] = r, true
		}
	}
}

// close gives Envoy names.Blackhole for a destination that it refused: connections are closed at once, and
// do not pass in plaintext, whatever it had before. The refusal stays until there is something newer.
func (c *Core) close(t *table, name, refused string) {
	if t.url != wire.ClusterType || !names.IsDestination(name) || refused == passed || refused == closed {
		return
	}
	if r := likeness(t.entries[names.Blackhole], name, closed); r != nil {
		t.entries[name].next = r
	}
}

// endpointsOf is the name of a cluster's endpoints. Destinations share those of a Service's port: Envoy does
// not ask for them again when it gets one more cluster that has them.
func (c *Core) endpointsOf(cluster string) string {
	if !names.IsDestination(cluster) {
		return cluster
	}
	if e := c.tables[0].entries[cluster]; e != nil && e.best() != nil {
		if body, err := e.best().Body(); err == nil {
			return cmp.Or(wire.EndpointsName(body), cluster)
		}
	}
	return cluster
}

// likeness makes a cluster that is another one under a name and with a version; nil while that is not here.
func likeness(of *entry, name, version string) *wire.Resource {
	if of == nil {
		return nil
	}
	like := of.best()
	if like == nil {
		return nil
	}
	body, err := like.Body()
	if err != nil {
		return nil
	}
	r := wire.NewResource(wire.ClusterType, name, version, wire.AppendClusterName(slices.Clone(body), name))
	return &r
}

// readChains follows the chains that the scopes add to the listener of redirected outbound connections.
// One that was there stays for the life of this Envoy, so that the connections that came through it stand,
// unless it cannot be beside a new one. Scopes that are incomplete take none away.
func (c *Core) readChains(scopes map[string]bool, complete bool) {
	var chains [][]byte
	for _, name := range slices.Sorted(maps.Keys(scopes)) {
		chains = append(chains, c.scopes[name].OutboundChains...)
	}
	if !complete && len(chains) == 0 || slices.EqualFunc(chains, c.inScope, slices.Equal) {
		return
	}
	c.inScope = chains
	for _, former := range c.chains {
		if len(chains) < maxChains && !slices.ContainsFunc(chains, func(chain []byte) bool { return wire.Conflict(chain, former) }) {
			chains = append(chains, former)
		}
	}
	c.setChains(chains)
}

// setChains gives the listener of redirected outbound connections other chains.
func (c *Core) setChains(chains [][]byte) {
	if slices.EqualFunc(chains, c.chains, slices.Equal) {
		return
	}
	c.chains = chains
	t := c.table(wire.ListenerType)
	e := t.entries[names.Outbound]
	if c.outbound == nil || e == nil {
		return
	}
	r := c.chained(*c.outbound)
	switch {
	case e.good != nil && e.good.Version == r.Version:
		e.next = nil
	default:
		e.next = &r
	}
	t.dirty[names.Outbound] = true
}

// chained adds the chains to the listener, if it is the one that has them.
func (c *Core) chained(r wire.Resource) wire.Resource {
	if len(c.chains) == 0 {
		return r
	}
	body, err := r.Body()
	if err != nil {
		return r // Envoy says what is wrong with it
	}
	h := sha256.New()
	for _, chain := range c.chains {
		h.Write(chain)
	}
	version := r.Version + addition + hex.EncodeToString(h.Sum(nil)[:6])
	return wire.NewResource(wire.ListenerType, r.Name, version, wire.AppendFilterChains(slices.Clone(body), c.chains))
}

// versionUpstream is the version that the control plane gave to what Envoy has at this one.
func versionUpstream(version string) string {
	version, _, _ = strings.Cut(version, addition)
	return version
}
