// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"maps"
	"slices"
	"strings"
	"time"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// invalidArgument is the gRPC code of a refusal that the agent itself makes.
const invalidArgument = 3

// UpstreamOpen begins a new stream to the control plane: everything wanted is subscribed to, with the
// versions that are here already.
func (c *Core) UpstreamOpen(now time.Time) {
	c.now = now
	c.up, c.greets = true, true
	for _, t := range c.upstream() {
		t.forgetUpstream()
	}
	c.flush()
	c.tell()
}

// Tell tells the control plane something that is no question, now and at the beginning of each stream
// until there is something newer: a request of a type of which nothing is subscribed to.
func (c *Core) Tell(now time.Time, note *wire.Request) {
	c.now = now
	c.note = note
	c.tell()
}

// tell sends the note, but never first: the first request says who asks.
func (c *Core) tell() {
	if c.note != nil && c.up && !c.greets {
		c.out.Upstream(c.note)
	}
}

// UpstreamClosed ends the stream. Envoy keeps what it has; what it has not judged yet is judged all the same.
func (c *Core) UpstreamClosed(now time.Time) {
	c.now = now
	c.up = false
	for _, t := range c.upstream() {
		t.forgetUpstream()
	}
	c.pass(c.tables[0])
	c.flush()
}

func (t *table) forgetUpstream() {
	t.told, t.changed, t.pending = map[string]bool{}, true, nil
}

// UpstreamResponse takes a response of the control plane.
func (c *Core) UpstreamResponse(now time.Time, r *wire.Response) {
	c.now = now
	if r.TypeURL == protocol.ScopeType {
		c.takeScopes(r)
		return
	}
	t := c.table(r.TypeURL)
	if t == nil {
		c.request(&wire.Request{TypeURL: r.TypeURL, Nonce: r.Nonce, Error: &wire.Status{Code: invalidArgument, Message: "the agent did not ask for this type"}})
		return
	}
	t.progress = now // a large configuration comes in parts
	p := &pending{nonce: r.Nonce, open: map[string]string{}}
	for i := range r.Resources {
		x := &r.Resources[i]
		if t.url == wire.ListenerType && x.Name == names.Outbound {
			c.outbound = x
			chained := c.chained(*x)
			x = &chained
		}
		if t == c.parts && !c.readable(p, x) {
			continue
		}
		for _, name := range t.namesOf(x.Name) {
			c.take(t, p, name, x)
		}
	}
	for _, removed := range r.Removed {
		if t.url == wire.ClusterType && names.IsDestination(removed) {
			continue // the control plane has yet to look what is there
		}
		if t.url == wire.ListenerType && removed == names.Outbound {
			c.outbound = nil
		}
		for _, name := range t.namesOf(removed) {
			t.takeRemoval(p, name)
		}
	}
	t.pending = append(t.pending, p)
	if t == c.parts {
		c.assembleOf(r)
	}
	c.answer(t)
	c.flush()
}

// take takes one resource of a response for one of Envoy's names.
func (c *Core) take(t *table, p *pending, name string, r *wire.Resource) {
	e := t.entry(name)
	if !t.wanted[name] || e.local {
		return // asked for no more while it was on its way
	}
	t.supersede(name)
	e.absent = false
	switch {
	case e.refusedAt(r.Version):
		// Sent again, perhaps by another replica. Envoy has said what it thinks of it.
		if e.next != nil && e.next.Version != closed {
			e.next = nil
		}
		p.words = append(p.words, e.words)
		return
	case e.good != nil && e.good.Version == r.Version:
		e.next = nil
	default:
		e.next = r
	}
	p.open[name] = r.Version
	t.dirty[name] = true
}

// takeRemoval takes the removal of a resource for one of Envoy's names.
func (t *table) takeRemoval(p *pending, name string) {
	e := t.entry(name)
	if !t.wanted[name] || e.local {
		return
	}
	if t.variants[name] != "" && e.best() != nil {
		return // a scope that comes says what there is in place of the variant
	}
	t.supersede(name)
	*e = entry{absent: true}
	p.open[name] = ""
	t.dirty[name] = true
}

// supersede ends the waiting for an older version of the name: a newer one has come.
func (t *table) supersede(name string) {
	for _, p := range t.pending {
		delete(p.open, name)
	}
}

// settle notes that nothing of the name waits for Envoy any more; words are Envoy's if it refused. waited
// tells whether anything did.
func (t *table) settle(name, words string) (waited bool) {
	for _, p := range t.pending {
		if _, ok := p.open[name]; !ok {
			continue
		}
		waited = true
		delete(p.open, name)
		if words != "" {
			p.words = append(p.words, words)
		}
	}
	return waited
}

// answer answers the responses of which nothing waits any more.
func (c *Core) answer(t *table) {
	t.pending = slices.DeleteFunc(t.pending, func(p *pending) bool {
		if len(p.open) > 0 {
			return false
		}
		r := &wire.Request{TypeURL: t.url, Nonce: p.nonce}
		if len(p.words) > 0 {
			slices.Sort(p.words)
			r.Error = &wire.Status{Code: invalidArgument, Message: strings.Join(slices.Compact(p.words), "; ")}
		}
		c.request(r)
		return true
	})
}

// flushUpstream subscribes to what is wanted and unsubscribes from what is not.
func (c *Core) flushUpstream(t *table) {
	if !t.changed {
		return
	}
	t.changed = false
	r := &wire.Request{TypeURL: t.url}
	ask := t.upstreamNames()
	for name := range ask {
		if !t.told[name] {
			r.Subscribe = append(r.Subscribe, name)
		}
	}
	first := len(t.told) == 0
	for name := range t.told {
		if !ask[name] {
			r.Unsubscribe = append(r.Unsubscribe, name)
		}
	}
	// What is wanted no more is forgotten: asked for again, it comes anew.
	for name, e := range t.entries {
		if !t.wanted[name] && !e.local {
			t.settle(name, "")
			delete(t.entries, name)
		}
	}
	c.answer(t)
	// An empty first subscription would mean "everything".
	if !c.up || len(r.Subscribe)+len(r.Unsubscribe) == 0 {
		return
	}
	slices.Sort(r.Subscribe)
	slices.Sort(r.Unsubscribe)
	if first {
		for _, name := range r.Subscribe {
			if v := t.heldOf(name); v != "" {
				if r.Versions == nil {
					r.Versions = map[string]string{}
				}
				r.Versions[name] = versionUpstream(v)
			}
		}
	}
	t.told = maps.Clone(ask)
	c.request(r)
}

// request sends upstream; the first one of a stream says who asks.
func (c *Core) request(r *wire.Request) {
	if !c.up {
		return
	}
	if c.greets {
		c.greets = false
		r.Node = c.node
	}
	c.out.Upstream(r)
}
