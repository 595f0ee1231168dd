// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package xds

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A world of services and listeners is translated into resources after each
// random change, as the pipeline does, and served to clients that work as the
// agent and Envoy do (client_test.go), over streams whose messages are delayed
// at random. Whatever happens, no client may ever be without a cluster that a
// route of it names; and once all is quiet each has exactly what there is.

const (
	scopes    = "type.googleapis.com/test.Scope"
	secrets   = "type.googleapis.com/test.Secret"
	clusters  = "type.googleapis.com/test.Cluster"
	endpoints = "type.googleapis.com/test.Endpoints"
	routes    = "type.googleapis.com/test.Route"
	listeners = "type.googleapis.com/test.Listener"
)

func testTypes() []Type {
	return []Type{{URL: scopes, Leading: true}, {URL: secrets}, {URL: clusters}, {URL: endpoints}, {URL: routes}, {URL: listeners}}
}

// contents is the body of every resource.
type contents struct {
	Clusters  []string `json:",omitempty"` // of a scope: to subscribe to; of a route or listener: referred to
	Listeners []string `json:",omitempty"`
	Route     string   `json:",omitempty"` // of a listener
	Bad       bool     `json:",omitempty"` // clients reject it
	Rev       int
}

type world struct {
	rng      *rand.Rand
	store    *Store
	services map[string]*contents // clusters
	eps      map[string]int
	near     map[string]map[string]int // endpoints at places
	places   map[string][]string       // of clients
	routes   map[string]*contents
	lists    map[string]*contents
	past     map[Key]contents // what a resource said before, to come back to it
	rev      int
}

func newWorld(rng *rand.Rand) *world {
	return &world{
		rng: rng, store: NewStore(testTypes()...), past: map[Key]contents{},
		services: map[string]*contents{}, eps: map[string]int{}, near: map[string]map[string]int{}, places: map[string][]string{}, routes: map[string]*contents{}, lists: map[string]*contents{},
	}
}

func pick[V any](rng *rand.Rand, m map[string]V) (string, bool) {
	if len(m) == 0 {
		return "", false
	}
	ks := slices.Sorted(maps.Keys(m))
	return ks[rng.Intn(len(ks))], true
}

func (w *world) someServices() []string {
	var l []string
	for _, s := range slices.Sorted(maps.Keys(w.services)) {
		if w.rng.Intn(2) == 0 {
			l = append(l, s)
		}
	}
	return l
}

func (w *world) next() int {
	if w.rng.Intn(4) == 0 { // contents, and so versions, come back
		return w.rng.Intn(3)
	}
	w.rev++
	return w.rev
}

// change does one thing to the world.
func (w *world) change() {
	s := "s" + strconv.Itoa(w.rng.Intn(5))
	l := "l" + strconv.Itoa(w.rng.Intn(3))
	bad := w.rng.Intn(8) == 0
	switch w.rng.Intn(9) {
	case 0, 1:
		w.services[s] = &contents{Rev: w.next(), Bad: bad}
		w.eps[s] = w.next()
	case 2: // a service goes, and all mention of it
		delete(w.services, s)
		delete(w.eps, s)
		delete(w.near, s)
		for _, m := range []map[string]*contents{w.routes, w.lists} {
			for k, c := range m {
				if i := slices.Index(c.Clusters, s); i >= 0 {
					d := *c
					d.Clusters = slices.Delete(slices.Clone(c.Clusters), i, i+1)
					m[k] = &d
				}
			}
		}
	case 3, 4:
		if _, ok := w.eps[s]; !ok {
			break
		}
		if p := somePlace(w.rng); w.rng.Intn(3) == 0 {
			w.eps[s] = w.next()
		} else if w.rng.Intn(3) == 0 {
			delete(w.near[s], p)
		} else {
			if w.near[s] == nil {
				w.near[s] = map[string]int{}
			}
			w.near[s][p] = w.next()
		}
	case 5: // a listener with a route of its own
		w.lists[l] = &contents{Route: "r-" + l, Rev: w.next(), Bad: bad}
		if w.routes["r-"+l] == nil {
			w.routes["r-"+l] = &contents{Clusters: w.someServices()}
		}
	case 6: // a listener that goes straight to clusters
		w.lists[l] = &contents{Clusters: w.someServices(), Rev: w.next(), Bad: bad}
		delete(w.routes, "r-"+l)
	case 7:
		delete(w.lists, l)
		delete(w.routes, "r-"+l)
	case 8:
		if r, ok := pick(w.rng, w.routes); ok {
			w.routes[r] = &contents{Clusters: w.someServices(), Rev: w.next(), Bad: bad}
		}
	}
}

func somePlace(rng *rand.Rand) string { return []string{"n1", "n2", "z1", "z2"}[rng.Intn(4)] }

// move puts a client at other places: a node and a zone, or a node that says no zone.
func (w *world) move(who string) {
	w.places[who] = []string{"n" + strconv.Itoa(1+w.rng.Intn(2)), "z" + strconv.Itoa(1+w.rng.Intn(2))}[:1+w.rng.Intn(2)]
}

// due is the version that a client is to have at last.
func (w *world) due(who string, k Key) (string, bool) {
	r, ok := w.store.Get(k)
	for _, p := range w.places[who] {
		for _, v := range r.Variants {
			if v.Place == p {
				return v.Version, ok
			}
		}
	}
	return r.Version, ok
}

// resources translates the world.
func (w *world) resources() map[Key]Resource {
	out := map[Key]Resource{}
	add := func(k Key, c contents, companion Key, needs ...Key) {
		b, err := json.Marshal(c)
		if err != nil {
			panic(err)
		}
		out[k] = Resource{Key: k, Body: b, Needs: needs, Companion: companion}
	}
	for s, c := range w.services {
		add(Key{clusters, s}, *c, Key{endpoints, s})
	}
	for s, rev := range w.eps {
		k := Key{endpoints, s}
		add(k, contents{Rev: rev}, Key{})
		r := out[k]
		for place, rev := range w.near[s] {
			b, err := json.Marshal(contents{Rev: rev})
			if err != nil {
				panic(err)
			}
			r.Variants = append(r.Variants, Variant{Place: place, Body: b})
		}
		out[k] = r
	}
	needs := func(c *contents) (l []Key) {
		for _, s := range c.Clusters {
			l = append(l, Key{clusters, s})
		}
		if c.Route != "" {
			l = append(l, Key{routes, c.Route})
		}
		return l
	}
	for r, c := range w.routes {
		add(Key{routes, r}, *c, Key{}, needs(c)...)
	}
	for l, c := range w.lists {
		add(Key{listeners, l}, *c, Key{}, needs(c)...)
	}
	add(Key{scopes, "all"}, contents{
		Clusters:  slices.Sorted(maps.Keys(w.services)),
		Listeners: slices.Sorted(maps.Keys(w.lists)),
	}, Key{})
	add(Key{secrets, "hidden"}, contents{}, Key{})
	return out
}

// commit publishes the difference to what is in the store, in any order.
func (w *world) commit(t testing.TB) {
	t.Helper()
	want := w.resources()
	var changes []Change
	for _, r := range want {
		changes = append(changes, Set(r))
	}
	for _, ty := range testTypes() {
		for _, r := range w.store.List(ty.URL) {
			if _, ok := want[r.Key]; !ok {
				changes = append(changes, Remove(r.Key))
			}
		}
	}
	slices.SortFunc(changes, func(a, b Change) int { return strings.Compare(a.Resource.Key.String(), b.Resource.Key.String()) })
	w.rng.Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
	if _, err := w.store.Commit(changes...); err != nil {
		t.Fatal(err)
	}
}

// seedsOf returns the first n seeds. TULLE_SEED=7 runs one, TULLE_SEED=7-9 a range.
func seedsOf(t testing.TB, n int) []int64 {
	first, last := int64(0), int64(n)-1
	if s := os.Getenv("TULLE_SEED"); s != "" {
		from, to, isRange := strings.Cut(s, "-")
		if !isRange {
			to = from
		}
		var err, err2 error
		first, err = strconv.ParseInt(from, 10, 64)
		last, err2 = strconv.ParseInt(to, 10, 64)
		if err != nil || err2 != nil {
			t.Fatalf("TULLE_SEED=%s is not a number or a range", s)
		}
	}
	var l []int64
	for i := first; i <= last; i++ {
		l = append(l, i)
	}
	return l
}

// permit is the authorisation of the tests: hidden is for nobody.
func permit(_ Principal, k Key) bool { return k.Name != "hidden" }

func testServer(t testing.TB, store *Store, clock *time.Time, opts Options) *Server {
	t.Helper()
	opts.Authorize = permit
	srv, err := NewServer(store, opts)
	if err != nil {
		t.Fatal(err)
	}
	srv.now = func() time.Time { return *clock }
	return srv
}

func TestClientsNeverBreakAndConverge(t *testing.T) {
	var total counts
	for _, seed := range seedsOf(t, 1500) {
		total.add(runModel(t, seed))
		if t.Failed() {
			return
		}
	}
	t.Logf("%+v", total)
	if os.Getenv("TULLE_SEED") == "" && (total.Nacks == 0 || total.Splits == 0 || total.Reconnects == 0 || total.Stale == 0 || total.Removals == 0 || total.Held == 0) {
		t.Error("the random runs do not reach every case")
	}
}

// counts say what the random runs went through, to see that they are not empty.
type counts struct{ Responses, Resources, Removals, Nacks, Splits, Reconnects, Stale, Held int }

func (c *counts) add(d counts) {
	c.Responses += d.Responses
	c.Resources += d.Resources
	c.Removals += d.Removals
	c.Nacks += d.Nacks
	c.Splits += d.Splits
	c.Reconnects += d.Reconnects
	c.Stale += d.Stale
	c.Held += d.Held
}

func runModel(t *testing.T, seed int64) counts {
	rng := rand.New(rand.NewSource(seed))
	w := newWorld(rng)
	clock := time.Unix(1_000_000, 0)
	acks := map[string]int{}
	srv := testServer(t, w.store, &clock, Options{
		Authenticate:     nobody,
		Places:           func(p Principal) []string { return w.places[p.(string)] },
		ResumeGrace:      time.Second,
		MaxResponseBytes: []int{1, 60, 1 << 20}[rng.Intn(3)],
		OnAck:            func(a Ack) { acks[fmt.Sprint(a.StreamID, a.Key, a.Version, a.Err != "")]++ },
	})
	for range 6 {
		w.change()
	}
	w.commit(t)
	var all []*client
	for i := range 1 + rng.Intn(2) {
		who := fmt.Sprintf("seed %d client %d", seed, i)
		w.move(who)
		all = append(all, newClient(t, srv, rng, who))
	}
	for step := range 150 {
		c := all[rng.Intn(len(all))]
		switch n := rng.Intn(41); {
		case n == 0:
			c.reconnect()
		case n == 40:
			w.move(c.name)
			srv.Relocate()
		case n < 8:
			for range 1 + rng.Intn(3) {
				w.change()
			}
			w.commit(t)
		case n == 8:
			clock = clock.Add(700 * time.Millisecond)
		case n < 16:
			c.sendOne() // the server looks and sends
		case n < 28:
			c.deliverRequest()
		default:
			c.deliverResponse()
		}
		if t.Failed() {
			t.Logf("seed %d, step %d", seed, step)
			return counts{}
		}
	}
	settle(t, seed, &clock, all)
	if t.Failed() {
		return counts{}
	}
	var total counts
	for _, c := range all {
		c.compare(w)
		total.add(c.counts)
	}
	slices.SortFunc(all, func(a, b *client) int { return int(a.ss.id) - int(b.ss.id) })
	checkAcks(t, seed, w, srv, all)
	for _, c := range all {
		c.end()
	}
	checkEmpty(t, seed, w.store)
	return total
}

// settle lets everything arrive.
func settle(t *testing.T, seed int64, clock *time.Time, all []*client) {
	quiet := 0
	for range 20_000 {
		progressed := false
		for _, c := range all {
			for c.deliverRequest() || c.sendOne() || c.deliverResponse() {
				progressed = true
			}
		}
		if t.Failed() {
			return
		}
		if progressed {
			quiet = 0
			continue
		}
		*clock = clock.Add(time.Second)
		if quiet++; quiet == 3 {
			return
		}
	}
	t.Errorf("seed %d: it never gets quiet", seed)
}

// checkAcks compares the server's account with what the clients really have.
func checkAcks(t *testing.T, seed int64, w *world, srv *Server, all []*client) {
	for _, ty := range testTypes() {
		names := map[string]bool{}
		for _, r := range w.store.List(ty.URL) {
			names[r.Name] = true
		}
		for _, c := range all {
			for n := range c.subscribed[ty.URL] {
				names[n] = true
			}
		}
		for name := range names {
			k := Key{ty.URL, name}
			if !permit(nil, k) {
				continue
			}
			needed, acked, nacked := 0, 0, 0
			for _, c := range all {
				if !c.subscribed[ty.URL][name] {
					continue
				}
				needed++
				cur, exists := w.due(c.name, k)
				switch h, has := c.told[k]; {
				case exists && has && h == cur, !exists && !has && !c.withheld(k):
					acked++
				case exists && c.rejected[k] == cur:
					nacked++
				}
			}
			gotNeeded, gotAcked, nacks := srv.Acks(k)
			if gotNeeded != needed || gotAcked != acked || len(nacks) != nacked {
				t.Errorf("seed %d: Acks(%s) = %d, %d, %d nacks; want %d, %d, %d", seed, k, gotNeeded, gotAcked, len(nacks), needed, acked, nacked)
			}
		}
	}
	for i, st := range srv.Streams() {
		rejected := 0
		for k, v := range all[i].rejected {
			if cur, ok := w.due(all[i].name, k); ok && cur == v {
				rejected++
			}
		}
		if st.Pending != all[i].kept || st.Rejected != rejected {
			t.Errorf("seed %d: stream %d has %d names pending and %d rejected, want %d and %d", seed, st.ID, st.Pending, st.Rejected, all[i].kept, rejected)
		}
	}
}

// checkEmpty looks for what closed streams left behind.
func checkEmpty(t *testing.T, seed int64, s *Store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, kd := range s.kinds {
		for _, e := range kd.entries {
			if len(e.subs) != 0 || e.queued || e.cur == nil && e.needed == 0 {
				t.Errorf("seed %d: entry %s: %d subscribers, queued %t, exists %t, needed by %d", seed, e.key, len(e.subs), e.queued, e.cur != nil, e.needed)
			}
		}
	}
}
