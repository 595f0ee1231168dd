// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/protocol"
	"tulle.dev/tulle/internal/virtualhost"
)

// assembly is a RouteConfiguration that is put together here, of the parts that routes have in it
// (protocol.RoutePart): an entry of the routes for Envoy that is local, and whose answers are those to
// the parts that are in it.
type assembly struct {
	name  string
	table *protocol.RouteTable
	since time.Time // when the scope changed it
	// begun: all parts have been here once, or have been waited for. Until then Envoy gets nothing, since
	// a proxy is ready to serve as soon as it has routes.
	begun bool
	// keep are parts that have left the table, which stay until all that came into it are here: one of
	// these may replace them.
	keep []string
	read map[string]readPart   // parts in the version that was used last
	made map[string]*assembled // by version
	// trial are parts of a refused version that are tried one group after the other; of all others the
	// good ones are taken meanwhile. nil: there is nothing to find out.
	trial [][]string
}

// assembled is what is in a version of a table.
type assembled struct {
	parts map[string]string // with their versions
	fresh []string          // those that Envoy had not taken before, sorted
}

type readPart struct {
	version string
	part    *protocol.RoutePart
}

// readTables follows the tables of the proxy's own scope.
func (c *Core) readTables(own protocol.Scope) {
	routes := c.table(wire.RouteType)
	shell := protocol.RouteShell{}
	if own.Shell != nil {
		shell = *own.Shell
	}
	c.shell = shell
	stay := map[string]bool{}
	for i := range own.Tables {
		t := &own.Tables[i]
		stay[t.Name] = true
		a := c.assemblies[t.Name]
		if a == nil {
			a = &assembly{name: t.Name, read: map[string]readPart{}, made: map[string]*assembled{}}
			c.assemblies[t.Name] = a
			routes.entry(t.Name).local = true
		}
		a.replace(t, c.now)
	}
	for name := range c.assemblies {
		if !stay[name] { // Envoy keeps what it has until its listener is gone
			delete(c.assemblies, name)
			delete(routes.entries, name)
		}
	}
	c.wantParts()
	for _, a := range c.assemblies {
		c.assemble(a)
	}
}

func (a *assembly) replace(t *protocol.RouteTable, now time.Time) {
	if a.table != nil {
		a.keep = slices.DeleteFunc(slices.Concat(a.keep, a.table.Parts), func(p string) bool { return slices.Contains(t.Parts, p) })
	}
	a.table, a.since = t, now
}

// parts are the names of those that are put together.
func (a *assembly) parts() []string { return slices.Concat(a.table.Parts, a.keep) }

// wantParts makes the parts of all tables the wanted ones.
func (c *Core) wantParts() {
	names := map[string]bool{}
	c.tableOf = map[string]string{}
	for _, a := range c.assemblies {
		for _, p := range a.parts() {
			names[p], c.tableOf[p] = true, a.name
		}
	}
	c.want(c.parts, names)
	clear(c.parts.dirty) // Envoy has none of them
}

// readable tells whether a part can be read; one that can't is refused here.
func (c *Core) readable(p *pending, r *wire.Resource) bool {
	_, err := parsePart(r)
	if err == nil {
		return true
	}
	e := c.parts.entry(r.Name)
	e.bad, e.words = r, fmt.Sprintf("%s: %v", r.Name, err)
	p.words = append(p.words, e.words)
	c.log.Error("Refused a part of a route configuration that cannot be read", "name", r.Name, "error", err)
	return false
}

func parsePart(r *wire.Resource) (*protocol.RoutePart, error) {
	b, err := r.Body()
	if err != nil {
		return nil, err
	}
	p := &protocol.RoutePart{}
	return p, json.Unmarshal(b, p)
}

// assembleOf puts together the tables that have something of a response.
func (c *Core) assembleOf(r *wire.Response) {
	tables := map[string]bool{}
	for _, x := range r.Resources {
		tables[c.tableOf[x.Name]] = true
	}
	for _, name := range r.Removed {
		tables[c.tableOf[name]] = true
	}
	for name := range tables {
		if a := c.assemblies[name]; a != nil {
			c.assemble(a)
			c.table(wire.RouteType).dirty[name] = true // an answer is due, whether or not anything has changed
		}
	}
}

// assemble makes what Envoy should have of a table.
func (c *Core) assemble(a *assembly) {
	if !a.begun || len(a.keep) > 0 {
		if c.have(a.table) || c.now.Sub(a.since) >= gate {
			a.begun, a.keep = true, nil
			c.wantParts()
		}
	}
	if !a.begun {
		c.unasked(a) // or the control plane would wait with the others
		return
	}
	routes := c.table(wire.RouteType)
	e := routes.entry(a.name)
	for {
		parts, made := c.choose(a)
		version := c.versionOf(a, made)
		if e.refusedAt(version) { // by this Envoy, when other parts were on trial
			if c.blame(a, made, e.words) {
				continue
			}
			return
		}
		a.made[version] = made
		switch {
		case e.good != nil && e.good.Version == version:
			e.next, e.bad, e.words = nil, nil, ""
		case e.next != nil && e.next.Version == version:
			return
		default:
			r := wire.NewResource(wire.RouteType, a.name, version, c.encode(a, parts))
			e.next = &r
		}
		e.absent = false
		routes.dirty[a.name] = true
		a.forget(e, routes.flight)
		return
	}
}

// have tells whether the control plane has said something of all parts of a table.
func (c *Core) have(t *protocol.RouteTable) bool {
	return !slices.ContainsFunc(t.Parts, func(p string) bool { return !c.parts.entries[p].answered() })
}

// choose takes the newest of each part, or what is on trial.
func (c *Core) choose(a *assembly) (parts []*protocol.RoutePart, made *assembled) {
	made = &assembled{parts: map[string]string{}}
	read := make(map[string]readPart, len(a.table.Parts))
	for _, name := range a.parts() {
		e := c.parts.entries[name]
		if e == nil {
			continue
		}
		r := e.next
		if r == nil || len(a.trial) > 0 && !slices.Contains(a.trial[0], name) {
			r = e.good
		}
		if r == nil {
			continue
		}
		p := a.read[name]
		if p.version != r.Version {
			part, err := parsePart(r)
			if err != nil {
				continue // it was readable when it came
			}
			p = readPart{r.Version, part}
		}
		read[name], made.parts[name] = p, r.Version
		if r == e.next {
			made.fresh = append(made.fresh, name)
		}
		parts = append(parts, p.part)
	}
	a.read = read
	slices.Sort(made.fresh)
	return parts, made
}

// versionOf names what is in a configuration.
func (c *Core) versionOf(a *assembly, made *assembled) string {
	h := sha256.New()
	// Nothing here fails to encode, and a map is encoded in the order of its keys.
	_ = json.NewEncoder(h).Encode([]any{c.shell, a.table.Table, made.parts})
	return hex.EncodeToString(h.Sum(nil)[:12])
}

func (c *Core) encode(a *assembly, parts []*protocol.RoutePart) []byte {
	b := wire.AppendRouteConfiguration(nil, a.name, c.shell.Config)
	for _, h := range virtualhost.Compose(a.table.Table, parts) {
		routes := slices.Concat(h.Rules...)
		if h.Misdirected {
			routes = [][]byte{c.shell.Misdirected}
		}
		b = wire.AppendVirtualHost(b, h.Domains, c.shell.Host, routes)
	}
	return b
}

// forget drops what is known of versions that nobody will speak of.
func (a *assembly) forget(e *entry, f *flight) {
	maps.DeleteFunc(a.made, func(version string, _ *assembled) bool {
		for _, r := range []*wire.Resource{e.good, e.next} {
			if r != nil && r.Version == version {
				return false
			}
		}
		return f == nil || f.versions[a.name] != version
	})
}

// blame finds out which of the fresh parts is refused: it is the one, if there is one, else they are tried
// by halves. False: there is none, so that there is nothing else to try.
func (c *Core) blame(a *assembly, made *assembled, words string) bool {
	if made == nil || len(made.fresh) == 0 {
		return false
	}
	a.tried()
	for _, name := range made.fresh {
		if e := c.parts.entries[name]; e == nil || e.next == nil || e.next.Version != made.parts[name] {
			return true // it may have been the one; what there is now is to be tried itself
		}
	}
	if half := len(made.fresh) / 2; half > 0 {
		a.trial = append([][]string{made.fresh[:half], made.fresh[half:]}, a.trial...)
		return true
	}
	name := made.fresh[0]
	if waited := c.refused(c.parts, name, made.parts[name], words); !waited {
		// It has been answered for unjudged. Asked for again, it comes again and is refused.
		delete(c.parts.told, name)
		c.parts.changed = true
	}
	return true
}

func (a *assembly) tried() {
	if len(a.trial) > 0 {
		a.trial = a.trial[1:]
	}
}

// assembled hears that Envoy has a version of a table, or refused it in these words.
func (c *Core) assembled(t *table, name, version, words string) {
	a := c.assemblies[name]
	if t.url != wire.RouteType || a == nil || !a.begun {
		return
	}
	if words != "" {
		c.blame(a, a.made[version], words)
	} else {
		if a.made[version] == nil {
			return
		}
		for part, v := range a.made[version].parts {
			if e := c.parts.entries[part]; e != nil && e.next != nil && e.next.Version == v {
				c.accepted(c.parts, part, v)
			}
		}
		a.tried()
		for _, part := range a.parts() {
			if e := c.parts.entries[part]; e != nil && e.next == nil { // as it was, or gone
				c.parts.settle(part, "")
			}
		}
	}
	c.assemble(a)
	c.answer(c.parts)
}

// unasked answers for the parts of a table of which Envoy gets nothing. They stay unjudged.
func (c *Core) unasked(a *assembly) {
	for _, part := range a.parts() {
		c.parts.settle(part, "")
	}
	c.answer(c.parts)
}

// rest is where a table stands that needs nothing to be done.
func (c *Core) rest(t *table, name string) {
	a, e := c.assemblies[name], t.entries[name]
	if t.url != wire.RouteType || a == nil || e == nil {
		return
	}
	if h, ok := t.has[name]; ok && !h.none {
		c.assembled(t, name, h.version, "")
	} else if !t.asks[name] {
		c.unasked(a)
	}
}
