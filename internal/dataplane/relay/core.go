// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"log/slog"
	"strconv"
	"time"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// Output is where a Core's messages go. Calls come from within its methods and must not block on the Core.
type Output interface {
	// Upstream sends to the control plane, on the stream that was last opened.
	Upstream(*wire.Request)
	// Envoy sends to Envoy, on the stream that was last opened.
	Envoy(*wire.Response)
	// Proxy tells how the proxy's scope wants Envoy to be run; called when first known and on change.
	Proxy(protocol.Proxy)
}

// Core is the state of a relay. Its methods must not be called concurrently; each takes the time at
// which it happens.
type Core struct {
	scopeName string // the proxy's own scope
	node      []byte // encoded Node for the control plane
	out       Output
	log       *slog.Logger

	now    time.Time
	up     bool // a stream to the control plane is open
	greets bool // nothing has been sent on it yet
	envoy  bool // a stream from Envoy is open
	since  time.Time
	pruned bool
	nonces uint64

	scope  *table
	parts  *table   // of what is put together here
	tables []*table // the types that Envoy gets, in make-before-break order
	scopes map[string]protocol.Scope
	stale  bool      // scopes are not, or not completely, in the wanted names yet
	known  bool      // the scope and all it includes have been read once
	asked  time.Time // when scopes were last complete, or first not
	proxy  *protocol.Proxy
	shell  protocol.RouteShell
	// assemblies are the route configurations that are put together here, tableOf the one of each part.
	assemblies map[string]*assembly
	tableOf    map[string]string
	// destinations are clusters that Envoy asked for when it connected to an address without a listener, with
	// the time of the question, and order are their names, oldest first.
	destinations map[string]time.Time
	order        []string
	// chains are added to the listener names.Outbound, and outbound is that listener without them. Of the
	// chains the scopes want inScope; the others were in a scope before.
	chains, inScope [][]byte
	outbound        *wire.Resource
	note            *wire.Request // told on every stream; nil: nothing to tell
}

// table is all about one type.
type table struct {
	url string
	// wild: Envoy subscribes to everything, the names come from the scope; else Envoy names them.
	wild    bool
	entries map[string]*entry

	// Upstream half.
	wanted  map[string]bool // names to be subscribed to
	told    map[string]bool // names of the control plane's that this stream is subscribed to
	changed bool            // wanted and told may differ
	pending []*pending      // responses not yet answered, oldest first
	// variants are the names that the control plane has for names of Envoy's, where they are different.
	// All other maps here have Envoy's names, but for told.
	variants map[string]string

	// Envoy's half; reset with each of its streams.
	open     bool            // Envoy has asked for this type
	greeted  bool            // and has got a response
	asks     map[string]bool // names it subscribes to (not wild)
	has      map[string]has
	dirty    map[string]bool // names whose desired state may differ from what Envoy has
	flight   *flight
	halves   [][]string // what is left of a refused response, to be tried in parts
	progress time.Time  // when a name was last asked for or an answer came
	left     time.Time  // when a name last left the scope
	// kept are filter chains of listeners that have been replaced and that connections may still use
	// (chains.go), bare are listeners that Envoy is to get without them.
	kept map[string][][]byte
	bare map[string]bool
}

// entry is what is known of one resource.
type entry struct {
	good *wire.Resource // the last one that Envoy took
	next *wire.Resource // newer, and not yet judged by Envoy
	// absent: the control plane says that there is none.
	absent bool
	local  bool           // made by the agent, never asked for upstream
	bad    *wire.Resource // what Envoy refused last
	words  string         // in these words
}

// answered reports whether the control plane has said anything of the resource.
func (e *entry) answered() bool {
	return e != nil && (e.good != nil || e.next != nil || e.absent || e.bad != nil)
}

// best is the resource that Envoy should have: the newest that it has not refused. nil: none.
func (e *entry) best() *wire.Resource {
	for _, r := range []*wire.Resource{e.next, e.good} {
		if r != nil && !e.refusedAt(r.Version) {
			return r
		}
	}
	return nil
}

// refusedAt reports whether that version is the one that Envoy refused.
func (e *entry) refusedAt(version string) bool { return e.bad != nil && e.bad.Version == version }

// has is what Envoy has of a resource, or that it has been told there is none.
type has struct {
	version string
	none    bool
}

// flight is a response that Envoy has not yet answered.
type flight struct {
	nonce    string
	versions map[string]string   // of the resources in it
	kept     map[string][][]byte // the kept filter chains of listeners in it
	removed  []string
	again    map[string]bool // asked for once more in the meantime
}

// pending is a response of the control plane that it has no answer to yet.
type pending struct {
	nonce string
	open  map[string]string // names that wait for Envoy, with the version (empty: removal)
	words []string          // refusals
}

// Limits of waiting for answers that may never come.
const (
	// gate is how long listeners and routes wait for clusters and endpoints that were asked for.
	gate = 5 * time.Second
	// settling is how long a new Envoy may take to ask for what the former one had.
	settling = 30 * time.Second
	// linger is how long Envoy keeps clusters that have left the scope: the routes that still name them
	// may be on their way from the control plane, which does not send a scope and a route at once.
	linger = 3 * time.Second
)

// NewCore makes the relay of a proxy: scope is the name of its own scope, node the encoded Node that
// the control plane gets.
func NewCore(scope string, node []byte, out Output, log *slog.Logger) *Core {
	c := &Core{scopeName: scope, node: node, out: out, log: log, scopes: map[string]protocol.Scope{}, assemblies: map[string]*assembly{}, destinations: map[string]time.Time{}}
	c.scope, c.parts = newTable(protocol.ScopeType), newTable(protocol.RoutePartType)
	c.scope.wanted[scope] = true
	for _, url := range []string{wire.ClusterType, wire.EndpointType, wire.ExtensionType, wire.ListenerType, wire.RouteType, wire.SecretType} {
		t := newTable(url)
		t.wild = url == wire.ClusterType || url == wire.ListenerType
		c.tables = append(c.tables, t)
	}
	// Known as the agent's own before there is one, so that it is never asked for upstream.
	c.table(wire.SecretType).entry(names.Identity).local = true
	return c
}

func newTable(url string) *table {
	t := &table{url: url, entries: map[string]*entry{}, wanted: map[string]bool{}}
	t.forgetUpstream()
	t.forgetEnvoy()
	return t
}

// upstream are the tables of what comes from the control plane.
func (c *Core) upstream() []*table { return append([]*table{c.scope, c.parts}, c.tables...) }

// table finds the table of a type among those that Envoy gets, and the parts of these; nil for others.
func (c *Core) table(url string) *table {
	if url == c.parts.url {
		return c.parts
	}
	for _, t := range c.tables {
		if t.url == url {
			return t
		}
	}
	return nil
}

// entry finds or makes the entry of a name.
func (t *table) entry(name string) *entry {
	e := t.entries[name]
	if e == nil {
		e = &entry{}
		t.entries[name] = e
	}
	return e
}

// Tick lets waiting end; call it about every second.
func (c *Core) Tick(now time.Time) {
	c.now = now
	if c.envoy && c.up && !c.pruned && now.Sub(c.since) > settling && c.waiting() == "" {
		c.prune()
	}
	if c.stale {
		c.readScopes()
	}
	c.pass(c.tables[0])
	for _, a := range c.assemblies {
		if !a.begun || len(a.keep) > 0 {
			c.assemble(a)
		}
	}
	c.flush()
}

// SetLocal gives Envoy a resource of the agent's own, for instance the Secret names.Identity.
func (c *Core) SetLocal(now time.Time, typeURL string, r wire.Resource) {
	c.now = now
	t := c.table(typeURL)
	e := t.entry(r.Name)
	e.local, e.next, e.absent = true, &r, false
	t.dirty[r.Name] = true
	c.flush()
}

// flush sends whatever can be sent, to both sides.
func (c *Core) flush() {
	for _, t := range c.tables {
		c.flushEnvoy(t)
	}
	for _, t := range c.upstream() {
		c.flushUpstream(t)
	}
}

func (c *Core) nonce() string {
	c.nonces++
	return strconv.FormatUint(c.nonces, 10)
}

// Status is how far the relay is.
type Status struct {
	// Connected: the stream to the control plane is open.
	Connected bool
	// Waiting says in words what is missing before Envoy has all that its scope names; empty: nothing.
	Waiting string
	// Rejected are resources whose newest version Envoy refused, by name, in Envoy's words.
	Rejected map[string]string
	// Resources counts what Envoy should have, by type URL.
	Resources map[string]int
}

// Status reads how far the relay is. It costs time in proportion to the configuration.
func (c *Core) Status() Status {
	s := Status{Connected: c.up, Rejected: map[string]string{}, Resources: map[string]int{}}
	for _, t := range c.upstream() {
		for name, e := range t.entries {
			if e.bad != nil {
				s.Rejected[name] = e.words
			}
			if e.best() != nil && t != c.scope {
				s.Resources[t.url]++
			}
		}
	}
	s.Waiting = c.waiting()
	return s
}

// idle: there is no listener for Envoy to have.
func (c *Core) idle() bool {
	for _, t := range c.tables {
		if t.url == wire.ListenerType && len(t.wanted) > 0 {
			return false
		}
	}
	return c.known
}

// waiting says what Envoy does not have yet of the scope's clusters and listeners.
func (c *Core) waiting() string {
	if !c.known {
		if !c.up {
			return "no connection to the control plane"
		}
		return "the control plane has not yet said what this proxy's scope is"
	}
	if !c.envoy {
		return "Envoy has not connected to the agent"
	}
	for _, t := range c.tables {
		if !t.wild {
			continue
		}
		kind := "clusters"
		if t.url == wire.ListenerType {
			kind = "listeners"
		}
		if n, first := t.unanswered(); n > 0 && c.up {
			return strconv.Itoa(n) + " " + kind + " have not come from the control plane, " + first + " among them"
		}
		if words := t.lost(); words != "" {
			return "Envoy refuses what it cannot do without: " + words
		}
		if !t.open || !t.greeted || t.flight.ofScope() || t.dirtyOfScope() || len(t.halves) > 0 {
			return "Envoy has not yet taken all " + kind
		}
	}
	return ""
}

// dirtyOfScope reports whether anything but destinations may differ from what Envoy has.
func (t *table) dirtyOfScope() bool {
	for name := range t.dirty {
		if ofScope(name) {
			return true
		}
	}
	return false
}

// lost is why Envoy has nothing at all of a listener that a sidecar is nothing without: those that the
// pod's redirected connections come to. A proxy that is refused by Envoy there and takes over from one
// that works would cut its pod off.
func (t *table) lost() string {
	if t.url != wire.ListenerType {
		return ""
	}
	words := ""
	for name := range t.wanted {
		if name != names.Outbound && !names.IsInbound(name) {
			continue
		}
		if e := t.entries[name]; e != nil && e.bad != nil && e.best() == nil && (words == "" || e.words < words) {
			words = e.words
		}
	}
	return words
}

// unanswered counts the wanted names that the control plane has said nothing of, and gives the first.
// Destinations do not count: nothing but the connections to them waits for these.
func (t *table) unanswered() (n int, first string) {
	for name := range t.wanted {
		if names.IsDestination(name) || t.entries[name].answered() {
			continue
		}
		n++
		if first == "" || name < first {
			first = name
		}
	}
	return n, first
}
