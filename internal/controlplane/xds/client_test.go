// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"context"
	"encoding/json"
	"maps"
	"math/rand"
	"slices"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"
)

func nobody(context.Context) (Principal, error) { return "nobody", nil }

// client works as an agent with its Envoy does: the scope says which clusters
// and listeners to subscribe to; clusters bring subscriptions to their
// endpoints and listeners to their routes; a cluster works once endpoints came
// after it, a listener once it has its route; of a response with a bad
// resource the good ones are taken and the whole is rejected.
type client struct {
	t    *testing.T
	srv  *Server
	rng  *rand.Rand
	name string
	counts

	ss        *session
	requests  []*discoveryv3.DeltaDiscoveryRequest // on their way to the server
	responses []sent                               // on their way to the client
	asked     map[Key]int                          // how often the server was asked for a name, in requests that arrived
	unacked   map[string]bool                      // types with a response that was not answered, as the server must see it

	subscribed map[string]map[string]bool
	held       map[Key]contents  // what works or warms
	told       map[Key]string    // versions that it ACKed, as the server may know them
	taken      map[Key]string    // versions of held
	rejected   map[Key]string    // versions that it NACKed alone
	rejectedAs map[Key]int       // asked, of the responses with those
	refused    map[string]bool   // clusters that it never had because it rejected them
	warm       map[string]bool   // clusters that work
	active     map[string]string // listeners that work and the route each uses
	lastNonce  map[string]string
	kept       int // resources that are removed but can't be missed, at the end
}

// sent is a response, and what had been asked for when it was sent.
type sent struct {
	bytes []byte
	asked map[Key]int
}

func newClient(t *testing.T, srv *Server, rng *rand.Rand, name string) *client {
	c := &client{
		t: t, srv: srv, rng: rng, name: name,
		held: map[Key]contents{}, told: map[Key]string{}, taken: map[Key]string{}, refused: map[string]bool{}, warm: map[string]bool{}, active: map[string]string{},
		subscribed: map[string]map[string]bool{},
	}
	c.open()
	return c
}

// open starts a stream: first requests of all types, in any order, with what it has.
func (c *client) open() {
	c.ss = c.srv.open(c.name)
	c.requests, c.responses, c.unacked = nil, nil, map[string]bool{}
	c.rejected, c.lastNonce = map[Key]string{}, map[string]string{}
	c.asked, c.rejectedAs = map[Key]int{}, map[Key]int{}
	if c.subscribed[scopes] == nil {
		c.subscribed[scopes] = map[string]bool{"all": true, "none": true}
		c.subscribed[secrets] = map[string]bool{"hidden": true}
	}
	types := []string{scopes, secrets, clusters, endpoints, routes, listeners}
	c.rng.Shuffle(len(types), func(i, j int) { types[i], types[j] = types[j], types[i] })
	for _, ty := range types {
		names := slices.Sorted(maps.Keys(c.subscribed[ty]))
		if len(names) == 0 {
			continue
		}
		versions := map[string]string{}
		for _, n := range names {
			if v, ok := c.taken[Key{ty, n}]; ok && (ty != clusters || c.warm[n]) { // what works, not what has merely arrived
				versions[n] = v
			}
		}
		names = append(names, names[0]) // twice
		c.requests = append(c.requests, &discoveryv3.DeltaDiscoveryRequest{
			Node: &corev3.Node{Id: c.name}, TypeUrl: ty, ResourceNamesSubscribe: names, InitialResourceVersions: versions,
		})
	}
}

func (c *client) end() {
	touched := c.ss.close()
	c.ss.sleep()
	delete(c.srv.sessions, c.ss)
	c.srv.progress.note(touched)
}

func (c *client) reconnect() {
	c.Reconnects++
	c.end()
	c.told = map[Key]string{}
	for k, v := range c.taken {
		if c.subscribed[k.TypeURL][k.Name] && (k.TypeURL != clusters || c.warm[k.Name]) {
			c.told[k] = v
		}
	}
	c.open()
	for c.deliverRequest() { // the first requests arrive within the grace
	}
}

// sendOne has the server look and send one response.
func (c *client) sendOne() bool {
	r := c.ss.next(c.srv.now())
	if r == nil {
		if c.ss.pendingWork() {
			c.Held++
		}
		return false
	}
	data, err := codec{}.Marshal(r)
	if err != nil {
		c.t.Fatal(err)
	}
	b := data.Materialize()
	if len(b) != r.size {
		c.t.Errorf("%s: a response of %d bytes says it has %d", c.name, len(b), r.size)
	}
	c.responses = append(c.responses, sent{b, maps.Clone(c.asked)})
	var m discoveryv3.DeltaDiscoveryResponse
	if err := proto.Unmarshal(b, &m); err != nil {
		c.t.Fatalf("%s: %v", c.name, err)
	}
	if c.unacked[m.GetTypeUrl()] {
		c.t.Errorf("%s: a second response for %s before the first one was answered", c.name, m.GetTypeUrl())
	}
	c.unacked[m.GetTypeUrl()] = true
	return true
}

func (c *client) deliverRequest() bool {
	if len(c.requests) == 0 {
		return false
	}
	r := c.requests[0]
	c.requests = c.requests[1:]
	if n := r.GetResponseNonce(); n != "" && n != "stale" {
		c.unacked[r.GetTypeUrl()] = false
	}
	for _, n := range r.GetResourceNamesSubscribe() {
		c.asked[Key{r.GetTypeUrl(), n}]++
	}
	if err := deliver(c.ss, r); err != nil {
		c.t.Errorf("%s: %v", c.name, err)
	}
	return true
}

func (c *client) deliverResponse() bool {
	if len(c.responses) == 0 {
		return false
	}
	var m discoveryv3.DeltaDiscoveryResponse
	if err := proto.Unmarshal(c.responses[0].bytes, &m); err != nil {
		c.t.Fatalf("%s: %v", c.name, err)
	}
	asked := c.responses[0].asked
	c.responses = c.responses[1:]
	c.receive(&m, asked)
	c.check()
	return true
}

func (c *client) receive(m *discoveryv3.DeltaDiscoveryResponse, asked map[Key]int) {
	ty := m.GetTypeUrl()
	c.Responses++
	c.Resources += len(m.GetResources())
	c.Removals += len(m.GetRemovedResources())
	if len(m.GetResources())+len(m.GetRemovedResources()) == 0 {
		c.t.Errorf("%s: an empty response", c.name)
	}
	var bad []string
	seen := map[string]bool{}
	for _, r := range m.GetResources() {
		k := Key{ty, r.GetName()}
		if r.GetName() == "hidden" || r.GetResource().GetTypeUrl() != ty || seen[r.GetName()] {
			c.t.Errorf("%s: got %s (%s), which is not its own or comes twice", c.name, k, r.GetResource().GetTypeUrl())
		}
		seen[r.GetName()] = true
		if !c.subscribed[ty][r.GetName()] {
			continue // sent before the server heard of it
		}
		if v, ok := c.rejected[k]; ok && v == r.GetVersion() && c.rejectedAs[k] == asked[k] {
			c.t.Errorf("%s: %s was rejected at this version and comes again", c.name, k)
		}
		delete(c.rejected, k)
		var body contents
		if err := json.Unmarshal(r.GetResource().GetValue(), &body); err != nil {
			c.t.Fatal(err)
		}
		if body.Bad {
			bad = append(bad, r.GetName())
			if _, has := c.held[k]; !has && ty == clusters {
				c.refused[r.GetName()] = true
			}
			continue
		}
		c.take(k, body, r.GetVersion())
	}
	for _, n := range m.GetRemovedResources() {
		if seen[n] {
			c.t.Errorf("%s: %s is sent and removed in one response", c.name, n)
		}
		c.remove(Key{ty, n})
	}
	c.follow()
	ack := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: ty, ResponseNonce: m.GetNonce()}
	if len(bad) > 0 {
		c.Nacks++
		ack.ErrorDetail = &statuspb.Status{Message: "bad: " + bad[0]}
		if len(m.GetResources())+len(m.GetRemovedResources()) == 1 {
			k := Key{ty, bad[0]}
			c.rejected[k], c.rejectedAs[k] = m.GetResources()[0].GetVersion(), asked[k]
		} else {
			c.Splits++
		}
	} else {
		for _, r := range m.GetResources() {
			if c.subscribed[ty][r.GetName()] {
				c.told[Key{ty, r.GetName()}] = r.GetVersion()
			}
		}
	}
	if len(bad) == 0 || len(m.GetResources())+len(m.GetRemovedResources()) == 1 {
		for _, n := range m.GetRemovedResources() {
			delete(c.told, Key{ty, n})
		}
	}
	if old := c.lastNonce[ty]; old != "" && c.rng.Intn(10) == 0 { // an answer nobody waits for
		c.Stale++
		c.requests = append(c.requests, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: ty, ResponseNonce: "stale"})
	}
	c.lastNonce[ty] = m.GetNonce()
	c.requests = append(c.requests, ack)
	c.tidy()
}

func (c *client) take(k Key, body contents, version string) {
	c.held[k] = body
	c.taken[k] = version
	switch k.TypeURL {
	case endpoints:
		// A new cluster works from here on; the old version of a known one worked meanwhile.
		if _, ok := c.held[Key{clusters, k.Name}]; ok {
			c.warm[k.Name] = true
			delete(c.refused, k.Name)
		}
	}
}

func (c *client) remove(k Key) {
	delete(c.held, k)
	delete(c.taken, k)
	delete(c.rejected, k)
	switch k.TypeURL {
	case clusters:
		delete(c.warm, k.Name)
		if !c.referred(k.Name) { // else what names it has been without it all along
			delete(c.refused, k.Name)
		}
	case listeners:
		delete(c.active, k.Name)
	}
}

// follow brings the subscriptions in line with what is held, before the ACK:
// new ones at once.
func (c *client) follow() {
	want := map[string]map[string]bool{clusters: {}, endpoints: {}, routes: {}, listeners: {}}
	scope := c.held[Key{scopes, "all"}]
	for _, n := range scope.Clusters {
		want[clusters][n] = true
	}
	for _, n := range scope.Listeners {
		want[listeners][n] = true
	}
	for k, body := range c.held {
		switch k.TypeURL {
		case clusters:
			want[endpoints][k.Name] = true
		case listeners:
			if body.Route != "" {
				want[routes][body.Route] = true
			}
			if _, ok := c.held[Key{routes, body.Route}]; ok || body.Route == "" {
				c.active[k.Name] = body.Route // else the old one works on, if there is one
			}
		}
	}
	for _, ty := range shuffled(c.rng, want) {
		var add []string
		for _, n := range slices.Sorted(maps.Keys(want[ty])) {
			if !c.subscribed[ty][n] {
				add = append(add, n)
			}
		}
		c.change(ty, add, nil)
	}
}

// shuffled returns the keys in an order that depends on the seed alone.
func shuffled[V any](rng *rand.Rand, m map[string]V) []string {
	l := slices.Sorted(maps.Keys(m))
	rng.Shuffle(len(l), func(i, j int) { l[i], l[j] = l[j], l[i] })
	return l
}

// tidy lets go of what nothing wants any more: out of the scope, and not
// referred to by what is held.
func (c *client) tidy() {
	scope := c.held[Key{scopes, "all"}]
	keeps := map[string]func(n string) bool{
		listeners: func(n string) bool { return slices.Contains(scope.Listeners, n) },
		clusters:  func(n string) bool { return slices.Contains(scope.Clusters, n) || c.referred(n) },
		endpoints: func(n string) bool { _, ok := c.held[Key{clusters, n}]; return ok },
		routes:    func(n string) bool { return c.used(n) },
	}
	for _, ty := range shuffled(c.rng, keeps) {
		keep := keeps[ty]
		var drop []string
		for _, n := range slices.Sorted(maps.Keys(c.subscribed[ty])) {
			if !keep(n) && c.rng.Intn(2) == 0 {
				drop = append(drop, n)
				c.remove(Key{ty, n})
				delete(c.told, Key{ty, n})
			}
		}
		c.change(ty, nil, drop)
	}
}

func (c *client) change(ty string, add, drop []string) {
	if len(add)+len(drop) == 0 {
		return
	}
	if c.subscribed[ty] == nil {
		c.subscribed[ty] = map[string]bool{}
	}
	for _, n := range add {
		c.subscribed[ty][n] = true
	}
	for _, n := range drop {
		delete(c.subscribed[ty], n)
	}
	c.requests = append(c.requests, &discoveryv3.DeltaDiscoveryRequest{TypeUrl: ty, ResourceNamesSubscribe: add, ResourceNamesUnsubscribe: drop})
}

// referred says whether a listener or route that is held names a cluster.
func (c *client) referred(cluster string) bool {
	for k, body := range c.held {
		if (k.TypeURL == routes || k.TypeURL == listeners) && slices.Contains(body.Clusters, cluster) {
			return true
		}
	}
	return false
}

func (c *client) used(route string) bool {
	for k, body := range c.held {
		if k.TypeURL == listeners && (body.Route == route || c.active[k.Name] == route) {
			return true
		}
	}
	return false
}

// check is the promise: traffic that arrives now finds its way.
func (c *client) check() {
	for l, route := range c.active {
		named := c.held[Key{listeners, l}].Clusters
		if route != "" {
			r, ok := c.held[Key{routes, route}]
			if !ok {
				c.t.Errorf("%s: listener %s works and its route %s is missing", c.name, l, route)
			}
			named = r.Clusters
		}
		for _, n := range named {
			if !c.warm[n] && !c.refused[n] {
				_, held := c.held[Key{clusters, n}]
				c.t.Errorf("%s: listener %s, route %q names cluster %s, which does not work (held: %t)", c.name, l, route, n, held)
			}
		}
	}
}

// mayKeep: what the client goes on using, because it rejected what would
// replace it, is not taken away from it.
func (c *client) mayKeep(k Key) bool {
	for r := range c.rejected {
		if r.TypeURL == listeners || r.TypeURL == routes {
			used := k.TypeURL == routes && c.used(k.Name) || k.TypeURL == clusters && c.referred(k.Name)
			if k.TypeURL == endpoints {
				_, used = c.held[Key{clusters, k.Name}]
			}
			return used || c.ss.resumed // then the server can't know what the old ones refer to
		}
	}
	return false
}

// withheld says whether the server keeps a removal to itself, with good reason.
func (c *client) withheld(k Key) bool {
	s := c.ss.find(c.srv.store.kinds[k.TypeURL].entries[k.Name])
	return !s.is(absent) && c.mayKeep(k)
}

// compare looks at the end whether it has what there is.
func (c *client) compare(w *world) {
	for _, ty := range []string{scopes, clusters, endpoints, routes, listeners} {
		for n := range c.subscribed[ty] {
			k := Key{ty, n}
			cur, exists := w.due(c.name, k)
			has, ok := c.taken[k]
			switch {
			case exists && c.rejected[k] == cur:
			case exists && (!ok || has != cur):
				c.t.Errorf("%s: has %s at version %q, there is %q", c.name, k, has, cur)
			case !exists && c.withheld(k):
				c.kept++
			case !exists && ok:
				c.t.Errorf("%s: has %s, which does not exist", c.name, k)
			}
		}
	}
	scope, _ := w.store.Get(Key{scopes, "all"})
	if c.taken[Key{scopes, "all"}] != scope.Version {
		c.t.Errorf("%s: does not have its scope", c.name)
	}
}
