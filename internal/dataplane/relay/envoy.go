// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
)

// EnvoyOpen begins a new stream from Envoy, which may be a new process or the same one again.
func (c *Core) EnvoyOpen(now time.Time) {
	c.now, c.since = now, now
	c.envoy, c.pruned = true, false
	for _, t := range c.tables {
		t.forgetEnvoy()
	}
}

// EnvoyClosed ends Envoy's stream.
func (c *Core) EnvoyClosed(now time.Time) {
	c.now = now
	c.envoy = false
	for _, t := range c.tables {
		t.forgetEnvoy()
	}
}

// EnvoyReplaced says that another Envoy process will come. It gets what the former took; where there
// is nothing of that kind it may try what the former refused.
func (c *Core) EnvoyReplaced() {
	for _, t := range c.upstream() {
		for _, e := range t.entries {
			if e.good == nil && e.next == nil && e.bad != nil && e.bad.Raw != nil {
				e.next, e.bad, e.words = e.bad, nil, ""
			}
		}
	}
	for _, a := range c.assemblies {
		c.assemble(a)
	}
	c.setChains(c.inScope)
}

func (t *table) forgetEnvoy() {
	t.open, t.greeted, t.flight, t.halves = false, false, nil, nil
	t.asks, t.has, t.dirty = map[string]bool{}, map[string]has{}, map[string]bool{}
	t.kept, t.bare = map[string][][]byte{}, map[string]bool{}
	for name := range t.entries {
		t.dirty[name] = true
	}
}

// EnvoyRequest takes a request of Envoy.
func (c *Core) EnvoyRequest(now time.Time, r *wire.Request) {
	c.now = now
	t := c.table(r.TypeURL)
	if t == nil {
		c.log.Warn("Envoy asked for a type that the agent does not relay", "type", r.TypeURL)
		return
	}
	first := !t.open
	if first {
		t.open = true
		for name, version := range r.Versions {
			t.has[name] = has{version: version}
			t.dirty[name] = true
		}
		for name := range t.wanted {
			t.dirty[name] = true
		}
		c.crossed(t)
	}
	if !t.wild {
		c.subscribe(t, r)
	} else if t.url == wire.ClusterType {
		c.dialled(t, r, first)
	}
	if t.flight != nil && r.Nonce == t.flight.nonce {
		c.land(t, r.Error)
	}
	c.flush()
}

// subscribe follows which names Envoy wants of a type.
func (c *Core) subscribe(t *table, r *wire.Request) {
	for _, name := range r.Subscribe {
		if name == "*" {
			continue // an old form of "nothing by name"
		}
		t.asks[name] = true
		t.dirty[name] = true
		if _, ok := r.Versions[name]; !ok {
			// Asked for anew, it is to be answered even with the version that Envoy had before.
			delete(t.has, name)
			if t.flight != nil {
				t.flight.again[name] = true
			}
		}
		if e := t.entries[name]; (e == nil || !e.local) && !(t.url == wire.RouteType && names.IsGatewayTable(name)) {
			if !t.wanted[name] {
				t.wanted[name], t.changed = true, true
				t.progress = c.now
			}
		}
	}
	for _, name := range r.Unsubscribe {
		delete(t.asks, name)
		delete(t.has, name)
		delete(t.wanted, name)
		t.changed = true
		t.settle(name, "")
	}
}

// land ends the flight with Envoy's answer.
func (c *Core) land(t *table, refusal *wire.Status) {
	f := t.flight
	t.flight = nil
	for _, name := range f.removed {
		if refusal != nil && len(f.versions) > 0 {
			t.dirty[name] = true // what of a refused response was done is not known: once more
			continue
		}
		t.has[name] = has{none: true}
		delete(t.kept, name)
		t.settle(name, "")
	}
	switch {
	case refusal == nil:
		for name, version := range f.versions {
			t.keep(name, f.kept[name])
			c.accepted(t, name, version)
			c.assembled(t, name, version, "")
		}
	case len(f.versions) == 1 && len(f.kept) == 1:
		for name := range f.versions { // not to be blamed before it has been tried alone
			t.bare[name], t.dirty[name] = true, true
		}
	case len(f.versions) == 1 && f.versions[names.Outbound] != "" && len(c.chains) > len(c.inScope):
		c.setChains(c.inScope) // the same, of chains that the scopes have no more
	case len(f.versions) == 1:
		for name, version := range f.versions {
			c.refused(t, name, version, refusal.Message)
			c.assembled(t, name, version, cmp.Or(refusal.Message, "refused without a message"))
		}
	case len(f.versions) > 1:
		// One bad resource must not cost the others their way: find it by halves.
		all := slices.Sorted(maps.Keys(f.versions))
		t.halves = append([][]string{all[:len(all)/2], all[len(all)/2:]}, t.halves...)
	}
	for name := range f.again {
		delete(t.has, name)
		t.dirty[name] = true
	}
	c.answer(t)
}

func (c *Core) accepted(t *table, name, version string) {
	t.has[name] = has{version: version}
	e := t.entries[name]
	if e == nil {
		return
	}
	if e.next != nil && e.next.Version == version {
		e.good, e.next = e.next, nil
	}
	if e.next == nil {
		if version != closed {
			e.bad, e.words = nil, ""
		}
		t.settle(name, "")
	}
}

// refused tells whether the control plane waited for it.
func (c *Core) refused(t *table, name, version, words string) (waited bool) {
	words = name + ": " + words // Envoy does not always name it
	c.log.Error("Envoy refused a resource", "type", t.url, "name", name, "version", version, "error", words)
	e := t.entries[name]
	if e == nil {
		return false
	}
	switch {
	case e.next != nil && e.next.Version == version:
		e.bad, e.next = e.next, nil
	case e.good != nil && e.good.Version == version:
		e.bad, e.good = e.good, nil // taken by another Envoy once
	default:
		e.bad = &wire.Resource{Name: name, Version: version}
	}
	delete(t.bare, name) // what comes next may keep chains again
	e.words = words
	if e.next == nil {
		waited = t.settle(name, words)
		c.close(t, name, version)
	}
	t.dirty[name] = true // the good one, if Envoy does not have it
	return waited
}

// flushEnvoy sends Envoy the next response of the type if there is one to send.
func (c *Core) flushEnvoy(t *table) {
	if !c.envoy || !t.open || t.flight != nil || t.wild && !c.known {
		return
	}
	defer c.answer(t)
	for len(t.halves) > 0 {
		half := t.halves[0]
		t.halves = t.halves[1:]
		if c.fly(t, half, nil) {
			return
		}
	}
	var send, remove []string
	for name := range t.dirty {
		switch c.desire(t, name) {
		case sendIt:
			send = append(send, name)
		case removeIt:
			remove = append(remove, name)
		case waitForIt: // the control plane's answer makes it dirty again
			delete(t.dirty, name)
		case leaveIt:
			delete(t.dirty, name)
			delete(t.bare, name)
			t.entries[name].confirm(t.has[name])
			t.settle(name, "")
			c.rest(t, name)
		}
	}
	if t.url == wire.ClusterType && (slices.ContainsFunc(send, ofScope) || c.now.Sub(t.left) < linger ||
		!c.landed(wire.ListenerType, wire.RouteType, wire.ExtensionType)) {
		remove = slices.DeleteFunc(remove, ofScope)
	}
	if len(send) > 0 {
		if c.blocked(t) {
			return
		}
		if t.url != wire.ListenerType && t.url != wire.ClusterType {
			remove = nil
		}
		// Nothing refers to a listener or to a destination's cluster, so those that go, go along: Envoy
		// removes before it adds, and a new listener may have the address of one that goes (a Service that
		// got a deleted one's address).
		c.fly(t, send, remove)
		return
	}
	if len(remove) > 0 {
		c.fly(t, nil, remove)
		return
	}
	// Envoy waits for a first answer even where there is nothing.
	if n, _ := t.unanswered(); t.wild && !t.greeted && (n == 0 || c.now.Sub(t.progress) >= gate) {
		c.fly(t, nil, nil)
	}
}

// confirm makes the newest resource the good one if it is what Envoy has. One that Envoy has no use
// for is settled upstream and stays unjudged here: it may still be refused one day.
func (e *entry) confirm(h has) {
	if e != nil && e.next != nil && !h.none && e.next.Version == h.version {
		e.good, e.next = e.next, nil
	}
}

// desire is what is to be done about a name.
type desire int

const (
	leaveIt desire = iota
	waitForIt
	sendIt
	removeIt
)

func (c *Core) desire(t *table, name string) desire {
	e, h := t.entries[name], t.has[name]
	_, present := t.has[name]
	present = present && !h.none
	needed := t.asks[name]
	if t.wild {
		needed = t.wanted[name]
	}
	if !needed {
		if t.wild && present {
			return removeIt
		}
		return leaveIt
	}
	if !e.answered() {
		return waitForIt
	}
	if r := e.best(); r != nil {
		if present && h.version == r.Version {
			return leaveIt
		}
		return sendIt
	}
	if e.absent && (present || !t.wild && !h.none) {
		return removeIt
	}
	return leaveIt
}

// fly sends one response; false if nothing of it is to be sent any more.
func (c *Core) fly(t *table, send, remove []string) bool {
	f := &flight{versions: map[string]string{}, removed: remove, again: map[string]bool{}, kept: map[string][][]byte{}}
	r := &wire.Response{TypeURL: t.url, Removed: remove}
	slices.Sort(send)
	slices.Sort(remove)
	for _, name := range send {
		if c.desire(t, name) != sendIt {
			continue
		}
		best := t.entries[name].best()
		f.versions[name] = best.Version
		r.Resources = append(r.Resources, c.present(t, f, name, best))
		delete(t.dirty, name)
	}
	if len(send) > 0 && len(r.Resources) == 0 {
		return false
	}
	for _, name := range remove {
		delete(t.dirty, name)
	}
	f.nonce = c.nonce()
	r.Nonce = f.nonce
	t.flight, t.greeted = f, true
	c.out.Envoy(r)
	if t.url == wire.ClusterType {
		c.accompany(f)
	}
	return true
}

// crossed: clusters were sent before Envoy told which endpoints it has, so accompany knew of none.
func (c *Core) crossed(t *table) {
	f := c.table(wire.ClusterType).flight
	if t.url != wire.EndpointType || f == nil {
		return
	}
	for name := range f.versions {
		delete(t.has, c.endpointsOf(name))
	}
}

// accompany makes endpoints follow their clusters, changed or not: a cluster that was changed waits
// for them without asking again (https://github.com/envoyproxy/envoy/issues/13009). Waiting for
// Envoy's answer first would be waiting for each other: it answers when its clusters have all.
func (c *Core) accompany(f *flight) {
	endpoints := c.table(wire.EndpointType)
	for name := range f.versions {
		name = c.endpointsOf(name)
		if !endpoints.asks[name] {
			continue
		}
		delete(endpoints.has, name)
		endpoints.dirty[name] = true
		if endpoints.flight != nil {
			endpoints.flight.again[name] = true
		}
	}
}

// blocked keeps what may need clusters or endpoints back while these are on their way.
func (c *Core) blocked(t *table) bool {
	if t.url != wire.ListenerType && t.url != wire.RouteType && t.url != wire.ExtensionType || !c.up {
		return false
	}
	clusters, endpoints := c.tables[0], c.table(wire.EndpointType)
	for _, needed := range []*table{clusters, endpoints} {
		if n, _ := needed.unanswered(); n > 0 && c.now.Sub(needed.progress) < gate {
			return true
		}
	}
	if !clusters.open {
		return false
	}
	if clusters.flight.ofScope() || len(clusters.halves) > 0 {
		return true
	}
	for name := range clusters.dirty {
		if ofScope(name) && c.desire(clusters, name) == sendIt {
			return true
		}
	}
	return false
}

// landed reports whether Envoy has all of these types as it is to be, so that what it no longer refers to may go.
func (c *Core) landed(typeURLs ...string) bool {
	for _, url := range typeURLs {
		t := c.table(url)
		if !t.open {
			continue
		}
		if t.flight != nil {
			return false
		}
		for name := range t.dirty {
			if d := c.desire(t, name); d == removeIt || d == sendIt {
				return false
			}
		}
	}
	return true
}

// prune unsubscribes from what the former Envoy wanted and this one has not asked for.
func (c *Core) prune() {
	c.pruned = true
	for _, t := range c.tables {
		if t.wild {
			continue
		}
		for name := range t.wanted {
			if !t.asks[name] {
				delete(t.wanted, name)
				t.changed = true
			}
		}
	}
}
