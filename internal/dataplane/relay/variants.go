// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"maps"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/protocol"
)

// ownScope is the proxy's own scope, as it is meant for an agent that knows variants.
func (c *Core) ownScope() (protocol.Scope, bool) {
	s, ok := c.scopes[c.scopeName]
	if i := s.Instead; i != nil {
		s.Include, s.Clusters, s.Listeners = i.Include, i.Clusters, i.Listeners
	}
	return s, ok
}

// readVariants follows the variants of the scopes. While a scope is on its way, none is given up: it may
// be in that one.
func (c *Core) readVariants(scopes map[string]bool, complete bool) {
	listeners, routes := map[string]string{}, map[string]string{}
	for name := range scopes {
		if v := c.scopes[name].Variants; v != nil {
			first(listeners, v.Listeners)
			first(routes, v.Routes)
		}
	}
	for url, variants := range map[string]map[string]string{wire.ListenerType: listeners, wire.RouteType: routes} {
		t := c.table(url)
		if !complete {
			for name, v := range t.variants {
				if variants[name] == "" {
					variants[name] = v
				}
			}
		}
		if maps.Equal(t.variants, variants) {
			continue
		}
		t.variants, t.changed, t.progress = variants, true, c.now
	}
}

// first adds variants; of two for a name it keeps the one that sorts first.
func first(all, more map[string]string) {
	for name, v := range more {
		if had, ok := all[name]; !ok || v < had {
			all[name] = v
		}
	}
}

// upstreamName is the control plane's name of what Envoy has under a name.
func (t *table) upstreamName(name string) string {
	if v := t.variants[name]; v != "" {
		return v
	}
	return name
}

// upstreamNames are the control plane's names of all that is wanted.
func (t *table) upstreamNames() map[string]bool {
	if len(t.variants) == 0 {
		return t.wanted
	}
	out := make(map[string]bool, len(t.wanted))
	for name := range t.wanted {
		out[t.upstreamName(name)] = true
	}
	return out
}

// namesOf are Envoy's names of a resource of the control plane.
func (t *table) namesOf(upstream string) []string {
	var out []string
	if t.upstreamName(upstream) == upstream {
		out = append(out, upstream)
	}
	for name, v := range t.variants {
		if v == upstream && t.wanted[name] {
			out = append(out, name)
		}
	}
	return out
}

// heldOf is the version that is here of a resource of the control plane, or empty if one of the names that
// Envoy has it under lacks it.
func (t *table) heldOf(upstream string) string {
	version := ""
	for _, name := range t.namesOf(upstream) {
		if !t.wanted[name] {
			continue
		}
		e := t.entries[name]
		if e == nil || e.good == nil || e.good.Name != upstream || version != "" && e.good.Version != version {
			return ""
		}
		version = e.good.Version
	}
	return version
}
