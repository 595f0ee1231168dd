// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"encoding/json"
	"fmt"
	"maps"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/protocol"
)

// takeScopes reads a response of scopes. They end here: the answer is a refusal if one can't be read,
// and then the former stays. It goes up after the subscriptions that follow from the scopes, by which
// the control plane knows what this proxy still waits for.
func (c *Core) takeScopes(r *wire.Response) {
	var words string
	for _, x := range r.Resources {
		body, err := x.Body()
		var s protocol.Scope
		if err == nil {
			err = json.Unmarshal(body, &s)
		}
		if err != nil {
			words = fmt.Sprintf("scope %s: %v", x.Name, err)
			c.log.Error("Refused a scope that cannot be read", "scope", x.Name, "error", err)
			continue
		}
		c.scopes[x.Name] = s
		e := c.scope.entry(x.Name)
		// The body is in c.scopes now; only the version is needed later.
		e.good, e.absent = &wire.Resource{Name: x.Name, Version: x.Version}, false
	}
	for _, name := range r.Removed {
		// A control plane that does not know this proxy (yet) is no reason to take away what works.
		if name == c.scopeName {
			continue
		}
		delete(c.scopes, name)
		*c.scope.entry(name) = entry{absent: true}
	}
	answer := &wire.Request{TypeURL: r.TypeURL, Nonce: r.Nonce}
	if words != "" {
		answer.Error = &wire.Status{Code: invalidArgument, Message: words}
	}
	c.readScopes()
	c.flush()
	c.request(answer)
}

// readScopes turns the scopes into the wanted clusters and listeners.
func (c *Core) readScopes() {
	own, ok := c.ownScope()
	if !ok {
		return
	}
	var p protocol.Proxy
	if own.Proxy != nil {
		p = *own.Proxy
	}
	if c.proxy == nil || *c.proxy != p {
		c.proxy = &p
		c.out.Proxy(p)
	}
	scopes, complete := c.included()
	c.scope.wanted, c.scope.changed = scopes, true
	for name := range c.scopes {
		if !scopes[name] {
			delete(c.scopes, name)
		}
	}
	c.stale = !complete
	if complete || c.asked.IsZero() {
		c.asked = c.now
	}
	// One included scope that never comes must not keep all the others away.
	if !complete && !c.known && c.now.Sub(c.asked) < gate {
		return
	}
	clusters, listeners := c.tables[0], c.table(wire.ListenerType)
	want := map[*table]map[string]bool{clusters: {}, listeners: {}}
	c.readVariants(scopes, complete)
	for name := range scopes {
		s := c.scopes[name]
		if name == c.scopeName {
			s = own
		}
		for _, n := range s.Clusters {
			want[clusters][n] = true
		}
		for _, n := range s.Listeners {
			want[listeners][n] = true
		}
		for _, n := range s.Local {
			want[listeners][n] = true
		}
	}
	for name := range c.destinations {
		want[clusters][name] = true
	}
	c.readChains(scopes, complete)
	c.readTables(own)
	for t, names := range want {
		if !complete {
			// Names may only seem to have left: they may be in the scope that is still on its way.
			maps.Copy(names, t.wanted)
		}
		c.want(t, names)
	}
	if !c.known {
		c.known = true
		for t := range want {
			t.progress = c.now
		}
	}
}

// included is the set of scopes that the proxy's own reaches, itself included, and whether all have been answered.
func (c *Core) included() (set map[string]bool, complete bool) {
	set, complete = map[string]bool{c.scopeName: true}, true
	todo := []string{c.scopeName}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		complete = complete && c.scope.entries[name].answered()
		s := c.scopes[name]
		if name == c.scopeName {
			s, _ = c.ownScope()
		}
		for _, n := range s.Include {
			if !set[n] {
				set[n] = true
				todo = append(todo, n)
			}
		}
	}
	return set, complete
}

// want makes names the wanted ones of a table whose names come from the scope.
func (c *Core) want(t *table, names map[string]bool) {
	for n := range names {
		if !t.wanted[n] {
			t.wanted[n], t.dirty[n], t.changed = true, true, true
			t.progress = c.now
		}
	}
	for n := range t.wanted {
		if !names[n] {
			delete(t.wanted, n)
			t.dirty[n], t.changed = true, true
			t.left = c.now
		}
	}
}
