// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/google/go-cmp/cmp"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// stateTypes are those of the tests, as a control plane serves them: clusters and listeners are Whole.
func stateTypes() []Type {
	l := testTypes()
	for i := range l {
		l[i].Whole = l[i].URL == clusters || l[i].URL == listeners
	}
	return l
}

// named is the body of the resources here: in states of the world a name is told in no other place.
type named struct {
	Name string
	Rev  int
	Bad  bool `json:",omitempty"`
}

// naive works as a client of states of the world does, and is as simple as can be: it takes what it gets,
// drops what is missing of a Whole type, and rejects a response with a bad resource, taking the good ones.
type naive struct {
	t        *testing.T
	ss       *session
	who      string
	want     map[string]map[string]bool  // by type: all that it subscribes to
	held     map[string]map[string]named // by type
	nonce    map[string]string
	requests []*discoveryv3.DiscoveryRequest
	answers  []*discoveryv3.DiscoveryResponse
	nacks    int
	sent     int
}

func newNaive(t *testing.T, srv *Server, who string) *naive {
	c := &naive{t: t, who: who, want: map[string]map[string]bool{}, held: map[string]map[string]named{}}
	for _, ty := range stateTypes() {
		c.want[ty.URL], c.held[ty.URL] = map[string]bool{}, map[string]named{}
	}
	c.open(srv)
	return c
}

// open starts a stream. What the client holds it keeps, and the server knows nothing of it.
func (c *naive) open(srv *Server) {
	c.ss, c.requests, c.answers, c.nonce = srv.open(c.who), nil, nil, map[string]string{}
	c.ss.sotw = true
	for _, ty := range stateTypes() {
		if len(c.want[ty.URL]) > 0 {
			c.ask(ty.URL, nil)
		}
	}
}

func (c *naive) end(srv *Server) {
	touched := c.ss.close()
	c.ss.sleep()
	delete(srv.sessions, c.ss)
	srv.progress.note(touched)
}

func (c *naive) ask(url string, nack *statuspb.Status) {
	names := slices.Collect(maps.Keys(c.want[url])) // in any order
	c.requests = append(c.requests, &discoveryv3.DiscoveryRequest{
		Node: &corev3.Node{Id: c.who}, TypeUrl: url, ResourceNames: names, ResponseNonce: c.nonce[url], ErrorDetail: nack,
	})
}

func (c *naive) deliverRequest() bool {
	if len(c.requests) == 0 {
		return false
	}
	r := c.requests[0]
	c.requests = c.requests[1:]
	if err := deliver(c.ss, r); err != nil {
		c.t.Errorf("%s: %v", c.who, err)
	}
	return true
}

func (c *naive) look(now time.Time) bool {
	r := c.ss.next(now)
	if r == nil {
		return false
	}
	data, err := codec{}.Marshal(r)
	if err != nil {
		c.t.Fatal(err)
	}
	b := data.Materialize()
	if len(b) != r.size {
		c.t.Errorf("a response of %d bytes says it has %d", len(b), r.size)
	}
	m := &discoveryv3.DiscoveryResponse{}
	if err := proto.Unmarshal(b, m); err != nil {
		c.t.Fatal(err)
	}
	if len(m.GetResources()) != r.resources || m.GetNonce() == "" || m.GetVersionInfo() == "" {
		c.t.Errorf("%d resources, told as %d, nonce %q, version %q", len(m.GetResources()), r.resources, m.GetNonce(), m.GetVersionInfo())
	}
	c.answers = append(c.answers, m)
	return true
}

func (c *naive) deliverAnswer() bool {
	if len(c.answers) == 0 {
		return false
	}
	m := c.answers[0]
	c.answers = c.answers[1:]
	c.sent++
	ty := m.GetTypeUrl()
	got, bad := map[string]bool{}, ""
	for _, a := range m.GetResources() {
		var n named
		if err := json.Unmarshal(a.GetValue(), &n); err != nil || a.GetTypeUrl() != ty {
			c.t.Fatalf("%s: %s in a response for %s: %v", c.who, a.GetTypeUrl(), ty, err)
		}
		if got[n.Name] || n.Name == "hidden" || strings.HasPrefix(n.Name, "of-") && n.Name != "of-"+c.who {
			c.t.Errorf("%s got %s, which comes twice or is not for it", c.who, n.Name)
		}
		got[n.Name] = true
		if n.Bad {
			bad = n.Name
			continue
		}
		c.held[ty][n.Name] = n
	}
	if whole(ty) {
		maps.DeleteFunc(c.held[ty], func(name string, _ named) bool { return !got[name] })
	}
	c.nonce[ty] = m.GetNonce()
	var nack *statuspb.Status
	if bad != "" {
		c.nacks++
		nack = &statuspb.Status{Message: "bad: " + bad}
	}
	c.ask(ty, nack)
	return true
}

func whole(url string) bool { return url == clusters || url == listeners }

// forClient is the Rename of these tests: "own" is for each client another resource.
func forClient(p Principal, k Key) Key {
	if k.Name == "own" {
		k.Name = "of-" + p.(string)
	}
	return k
}

// fits is their Authorize.
func fits(p Principal, k Key) bool {
	return k.Name != "hidden" && (!strings.HasPrefix(k.Name, "of-") || k.Name == "of-"+p.(string))
}

// TestStatesOfTheWorld compares clients of states of the world with the plainest possible account of what
// they must have, over random commits, subscriptions, delays, rejections and reconnects.
func TestStatesOfTheWorld(t *testing.T) {
	sent, nacks := 0, 0
	for _, seed := range seedsOf(t, 300) {
		a, b := runStates(t, seed)
		sent, nacks = sent+a, nacks+b
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if nacks == 0 || sent < 500 {
		t.Errorf("%d responses, %d of them rejected: do these still go through anything?", sent, nacks)
	}
}

func runStates(t *testing.T, seed int64) (sent, nacks int) {
	rng := rand.New(rand.NewSource(seed))
	clock := time.Unix(1_000_000, 0)
	store := NewStore(stateTypes()...)
	srv, err := NewServer(store, Options{Authenticate: nobody, Authorize: fits, Places: func(p Principal) []string { return []string{p.(string)} }, Rename: forClient, MaxResponseBytes: []int{1, 1 << 20}[rng.Intn(2)]})
	if err != nil {
		t.Fatal(err)
	}
	srv.now = func() time.Time { return clock }
	now := map[Key]named{} // what is in the store
	atY := map[Key]named{} // and is another for the client y
	names := []string{"a", "b", "c", "own", "hidden"}
	types := []string{clusters, endpoints, routes, listeners}
	rev := 0
	commit := func() {
		var changes []Change
		for range 1 + rng.Intn(3) {
			k := Key{types[rng.Intn(len(types))], []string{"a", "b", "c", "of-x", "of-y", "hidden"}[rng.Intn(6)]}
			if rng.Intn(3) == 0 {
				delete(now, k)
				delete(atY, k)
				changes = append(changes, Remove(k))
				continue
			}
			if rev++; rng.Intn(3) > 0 {
				rev++
			}
			n := named{Name: k.Name, Rev: rev, Bad: rng.Intn(10) == 0}
			now[k] = n
			b, _ := json.Marshal(n)
			r := Resource{Key: k, Body: b}
			delete(atY, k)
			if rng.Intn(2) == 0 {
				rev++
				n.Rev, n.Bad = rev, false
				atY[k] = n
				b, _ := json.Marshal(n)
				r.Variants = []Variant{{Place: "y", Body: b}}
			}
			changes = append(changes, Set(r))
		}
		if _, err := store.Commit(changes...); err != nil {
			t.Fatal(err)
		}
	}
	commit()
	clients := []*naive{newNaive(t, srv, "x"), newNaive(t, srv, "y")}
	for range 200 {
		c := clients[rng.Intn(2)]
		switch rng.Intn(8) {
		case 0:
			commit()
		case 1:
			ty, name := types[rng.Intn(len(types))], names[rng.Intn(len(names))]
			if c.want[ty][name] = !c.want[ty][name]; !c.want[ty][name] {
				delete(c.want[ty], name)
				delete(c.held[ty], forClient(c.who, Key{ty, name}).Name)
			}
			c.ask(ty, nil)
		case 2:
			clock = clock.Add(400 * time.Millisecond)
		case 3:
			if rng.Intn(6) == 0 {
				c.end(srv)
				c.open(srv)
			}
		case 4:
			c.look(clock)
		case 5:
			c.deliverAnswer()
		default:
			c.deliverRequest()
		}
	}
	for quiet := 0; quiet < 4; quiet++ {
		for _, c := range clients {
			for c.deliverRequest() || c.look(clock) || c.deliverAnswer() {
				quiet = 0
				if c.sent > 5000 {
					t.Fatal("it never gets quiet")
				}
			}
		}
		clock = clock.Add(time.Second)
	}
	for _, c := range clients {
		due := maps.Clone(now)
		if c.who == "y" {
			maps.Copy(due, atY)
		}
		c.compare(due)
		c.end(srv)
		sent, nacks = sent+c.sent, nacks+c.nacks
	}
	checkEmpty(t, seed, store)
	return sent, nacks
}

// compare is the oracle: of what there is, a client has exactly what it wants and may have; of what is
// bad, no newer version than the last good one; and of what is not Whole it may keep what is no more.
func (c *naive) compare(now map[Key]named) {
	for ty, want := range c.want {
		for name := range want {
			k := forClient(c.who, Key{ty, name})
			n, exists := now[k]
			h, has := c.held[ty][k.Name]
			switch {
			case !fits(c.who, k):
				if has {
					c.t.Errorf("%s has %s", c.who, k)
				}
			case exists && !n.Bad:
				if d := cmp.Diff(n, h); d != "" {
					c.t.Errorf("%s of %s (-want +got):\n%s", k, c.who, d)
				}
			case exists && has && h.Bad:
				c.t.Errorf("%s took %s, which is bad", c.who, k)
			case !exists && has && whole(ty):
				c.t.Errorf("%s still has %s", c.who, k)
			}
		}
	}
}

// TestStatesAreTold: what is not there at once may be being made, and what went may come back; only what
// is missing for a while is told to be.
func TestStatesAreTold(t *testing.T) {
	clock := time.Unix(1_000_000, 0)
	store := NewStore(stateTypes()...)
	srv := testServer(t, store, &clock, Options{Authenticate: nobody})
	set := func(names ...string) {
		t.Helper()
		var l []Change
		for _, n := range names {
			b, _ := json.Marshal(named{Name: n})
			l = append(l, Set(Resource{Key: Key{listeners, n}, Body: b}))
		}
		if _, err := store.Commit(l...); err != nil {
			t.Fatal(err)
		}
	}
	c := newNaive(t, srv, "x")
	c.want[listeners] = map[string]bool{"a": true, "b": true}
	c.ask(listeners, nil)
	step := func(what string, want ...string) {
		t.Helper()
		before := c.sent
		for c.deliverRequest() || c.look(clock) || c.deliverAnswer() {
		}
		got := slices.Sorted(maps.Keys(c.held[listeners]))
		if told := c.sent > before; told != (want != nil) || told && fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: told %t, holds %v; want %v", what, told, got, want)
		}
	}
	set("a")
	step("b may come yet")
	clock = clock.Add(500 * time.Millisecond)
	set("b")
	step("both are there", "a", "b")
	step("nothing has changed")
	set("a", "b")
	step("nothing has changed either")
	if _, err := store.Commit(Remove(Key{listeners, "b"})); err != nil {
		t.Fatal(err)
	}
	step("b may come back")
	set("b")
	step("b is back, as it was")
	if _, err := store.Commit(Remove(Key{listeners, "b"})); err != nil {
		t.Fatal(err)
	}
	step("b is gone again")
	clock = clock.Add(time.Second)
	step("b has been gone for long", "a")
	if _, err := store.Commit(Remove(Key{listeners, "a"})); err != nil {
		t.Fatal(err)
	}
	step("a is gone")
	clock = clock.Add(time.Second)
	step("nothing is left", []string{}...)
	before := c.sent
	for c.deliverRequest() || c.look(clock) || c.deliverAnswer() {
	}
	if c.sent != before || len(c.held[listeners]) != 0 {
		t.Errorf("after the end: holds %v", c.held[listeners])
	}
}

// TestStateRequests: what a client may not say ends its stream, and a wildcard gets it nothing.
func TestStateRequests(t *testing.T) {
	clock := time.Unix(1_000_000, 0)
	srv := testServer(t, NewStore(stateTypes()...), &clock, Options{Authenticate: nobody, SpareNames: 1})
	if _, err := srv.store.Commit(Set(Resource{Key: Key{listeners, "a"}, Body: []byte("{}")})); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		url   string
		names []string
		code  codes.Code
	}{
		"all":               {listeners, nil, codes.OK},
		"all, in new words": {listeners, []string{"*"}, codes.OK},
		"a type not served": {"type.googleapis.com/x", []string{"a"}, codes.OK},
		"hidden":            {listeners, []string{"hidden"}, codes.OK},
		"no type":           {"", []string{"a"}, codes.InvalidArgument},
		"no name":           {listeners, []string{""}, codes.InvalidArgument},
		"a long name":       {listeners, []string{strings.Repeat("x", maxNameBytes+1)}, codes.InvalidArgument},
		"too many":          {listeners, []string{"a", "b", "c", "d"}, codes.ResourceExhausted},
		"too many refused":  {clusters, []string{"hidden", "a", "b", "c"}, codes.ResourceExhausted},
	} {
		ss := srv.open("x")
		ss.sotw = true
		err := deliver(ss, &discoveryv3.DiscoveryRequest{TypeUrl: c.url, ResourceNames: c.names})
		if status.Code(err) != c.code {
			t.Errorf("%s: %v, want %s", what, err, c.code)
		}
		clock = clock.Add(time.Minute)
		if r := ss.next(clock); r != nil && err == nil {
			t.Errorf("%s: answered with %d resources", what, r.resources)
		}
		ss.close()
	}
	if err := (&session{srv: srv}).states()([]byte("\xff")); status.Code(err) != codes.InvalidArgument {
		t.Errorf("garbage: %v", err)
	}
}
