// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/protocol"
)

const own = "scope/sidecar/shop/cart-0"

// world is a Core between a control plane and an Envoy that keep to the protocol. Messages lie in
// queues until the test delivers them.
type world struct {
	t     *testing.T
	core  *Core
	now   time.Time
	proxy protocol.Proxy

	server   server
	envoy    fakeEnvoy
	taken    func(wire.Resource) // told of each listener that Envoy takes; nil: not
	toServer []*wire.Request
	toCore   []*wire.Response // from the server
	toEnvoy  []*wire.Response
	replies  []*wire.Request // from Envoy
}

type resource struct {
	version string
	body    []byte
}

// server is a control plane: what there is, and what its one stream knows.
type server struct {
	up    bool
	have  map[string]map[string]resource // type, name
	subs  map[string]map[string]string   // type, name, version that the client has; "-": told there is none
	out   map[string]*wire.Response      // unanswered, by type
	nonce int
	sent  []string          // "type name version" of all sent, in order
	acked map[string]string // type+name, version last acknowledged
	nacks []string
	late  map[string]bool // names that it does not speak of yet
}

// fakeEnvoy is an Envoy: what it runs with, and what it refuses.
type fakeEnvoy struct {
	up      bool
	has     map[string]map[string]string // type, name, version
	asks    map[string]map[string]bool   // named types
	begun   map[string]bool              // types subscribed to on this stream
	refuses map[string]bool              // name+version
	filters bool                         // listeners ask for filters, too
	// initialized: it has had a first answer about clusters.
	initialized bool
	// warming are changed clusters that wait for endpoints, and held is the answer that waits for them.
	warming map[string]bool
	held    *wire.Request
	log     []string // "type +name version", "type -name", in order
	// routes are what stands in tables that were put together, in order.
	routes map[string][]string
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Unix(1000, 0)}
	w.server = server{have: map[string]map[string]resource{}, acked: map[string]string{}}
	w.envoy = fakeEnvoy{refuses: map[string]bool{}}
	w.envoy.forget()
	w.core = NewCore(own, []byte("node"), w, slog.New(slog.NewTextHandler(io.Discard, nil)))
	return w
}

var urls = map[string]string{ //nolint:gochecknoglobals // a table
	"scope": protocol.ScopeType, "cds": wire.ClusterType, "eds": wire.EndpointType,
	"lds": wire.ListenerType, "rds": wire.RouteType, "sds": wire.SecretType, "ecds": wire.ExtensionType, "part": protocol.RoutePartType,
}

func kindOf(url string) string {
	for k, u := range urls {
		if u == url {
			return k
		}
	}
	return url
}

// Output of the Core.

func (w *world) Upstream(r *wire.Request) {
	if !w.server.up {
		w.t.Errorf("a request was sent without a stream: %+v", r)
	}
	w.toServer = append(w.toServer, r)
}

func (w *world) Envoy(r *wire.Response) {
	if !w.envoy.up {
		w.t.Errorf("a response was sent without a stream: %+v", r)
	}
	w.toEnvoy = append(w.toEnvoy, r)
}

func (w *world) Proxy(p protocol.Proxy) { w.proxy = p }

// list names resources for the log of a failed test.
func list(all []wire.Resource) (out []string) {
	for _, x := range all {
		out = append(out, x.Name+"@"+x.Version)
	}
	return out
}

// The control plane.

// put makes resources "kind name version".
func (w *world) put(all ...string) {
	for _, s := range all {
		f := strings.Fields(s)
		w.store(urls[f[0]], f[1], resource{f[2], []byte(f[2])})
	}
}

func (w *world) scope(name string, s protocol.Scope) {
	b, err := json.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	w.store(protocol.ScopeType, name, resource{string(b), b})
}

func (w *world) store(url, name string, r resource) {
	if w.server.have[url] == nil {
		w.server.have[url] = map[string]resource{}
	}
	w.server.have[url][name] = r
	w.serve()
}

func (w *world) remove(kind, name string) {
	delete(w.server.have[urls[kind]], name)
	w.serve()
}

func (w *world) connect() {
	w.t.Log("connect")
	w.server.up = true
	w.server.subs, w.server.out = map[string]map[string]string{}, map[string]*wire.Response{}
	w.toServer, w.toCore = nil, nil
	w.core.UpstreamOpen(w.now)
}

func (w *world) disconnect() {
	w.t.Log("disconnect")
	w.server.up = false
	w.toServer, w.toCore = nil, nil
	w.core.UpstreamClosed(w.now)
}

// serve queues what the control plane may send; one response per type is out at a time.
func (w *world) serve() {
	s := &w.server
	for _, url := range slices.Sorted(maps.Keys(s.subs)) {
		if !s.up || s.out[url] != nil {
			continue
		}
		r := &wire.Response{TypeURL: url}
		for _, n := range slices.Sorted(maps.Keys(s.subs[url])) {
			if s.late[n] {
				continue
			}
			x, ok := s.have[url][n]
			switch has := s.subs[url][n]; {
			case ok && x.version != has:
				r.Resources = append(r.Resources, wire.NewResource(url, n, x.version, x.body))
				s.subs[url][n] = x.version // a refused version is not sent again
				s.sent = append(s.sent, kindOf(url)+" "+n+" "+x.version)
			case !ok && has != "-":
				r.Removed = append(r.Removed, n)
				s.subs[url][n] = "-"
			}
		}
		if len(r.Resources)+len(r.Removed) > 0 {
			s.nonce++
			r.Nonce = fmt.Sprint("up", s.nonce)
			s.out[url] = r
			w.toCore = append(w.toCore, r)
		}
	}
}

// hear takes the oldest message of the Core.
func (w *world) hear() {
	r := w.toServer[0]
	w.t.Logf("core->server %s sub %q unsub %q nonce %q err %v", kindOf(r.TypeURL), r.Subscribe, r.Unsubscribe, r.Nonce, r.Error)
	w.toServer = w.toServer[1:]
	s := &w.server
	if s.subs[r.TypeURL] == nil {
		if len(r.Subscribe) == 0 {
			w.t.Errorf("the first request for %s subscribes to everything", kindOf(r.TypeURL))
		}
		s.subs[r.TypeURL] = map[string]string{}
	}
	if r.Nonce != "" {
		o := s.out[r.TypeURL]
		if o == nil || o.Nonce != r.Nonce {
			w.t.Fatalf("answer to %s %q, which is not out", kindOf(r.TypeURL), r.Nonce)
		}
		delete(s.out, r.TypeURL)
		if r.Error != nil {
			s.nacks = append(s.nacks, r.Error.Message)
		}
		for _, x := range o.Resources {
			if r.Error == nil {
				s.acked[r.TypeURL+x.Name] = x.Version
			}
		}
	}
	for _, n := range r.Subscribe {
		s.subs[r.TypeURL][n] = r.Versions[n]
	}
	for _, n := range r.Unsubscribe {
		delete(s.subs[r.TypeURL], n)
	}
	w.serve()
}

// Envoy.

func (e *fakeEnvoy) forget() {
	e.initialized = false
	e.has, e.asks, e.routes = map[string]map[string]string{}, map[string]map[string]bool{}, map[string][]string{}
	for _, u := range urls {
		e.has[u], e.asks[u] = map[string]string{}, map[string]bool{}
	}
}

// boot starts an Envoy that has nothing.
func (w *world) boot() {
	w.t.Log("boot")
	w.envoy.forget()
	w.core.EnvoyReplaced()
	w.attach()
}

// attach opens Envoy's stream: it tells what it has.
func (w *world) attach() {
	w.t.Log("attach")
	w.envoy.up, w.envoy.begun = true, map[string]bool{}
	w.envoy.warming, w.envoy.held = map[string]bool{}, nil
	w.toEnvoy, w.replies = nil, nil
	w.core.EnvoyOpen(w.now)
	w.begin(wire.ClusterType)
	if w.envoy.initialized {
		w.begin(wire.ListenerType)
	}
	for _, u := range []string{wire.EndpointType, wire.ExtensionType, wire.RouteType, wire.SecretType} {
		if len(w.envoy.asks[u]) > 0 {
			w.begin(u)
		}
	}
}

func (w *world) begin(url string) {
	w.envoy.begun[url] = true
	w.replies = append(w.replies, &wire.Request{
		TypeURL: url, Subscribe: slices.Sorted(maps.Keys(w.envoy.asks[url])), Versions: maps.Clone(w.envoy.has[url]),
	})
}

func (w *world) detach() {
	w.t.Log("detach")
	w.envoy.up = false
	w.toEnvoy, w.replies = nil, nil
	w.core.EnvoyClosed(w.now)
}

// ask subscribes to a name.
func (w *world) ask(url, name string) {
	if w.envoy.asks[url][name] {
		return
	}
	w.envoy.asks[url][name] = true
	if !w.envoy.begun[url] {
		w.begin(url)
		return
	}
	w.replies = append(w.replies, &wire.Request{TypeURL: url, Subscribe: []string{name}})
}

func (w *world) unask(url, name string) {
	if !w.envoy.asks[url][name] {
		return
	}
	delete(w.envoy.asks[url], name)
	delete(w.envoy.has[url], name)
	w.replies = append(w.replies, &wire.Request{TypeURL: url, Unsubscribe: []string{name}})
}

// obey takes the oldest message to Envoy. A response with a resource that it refuses is refused as a
// whole, and the words don't say which resource it was.
func (w *world) obey() {
	r := w.toEnvoy[0]
	w.t.Logf("core->envoy %s %s removed %q nonce %q", kindOf(r.TypeURL), list(r.Resources), r.Removed, r.Nonce)
	w.toEnvoy = w.toEnvoy[1:]
	e := &w.envoy
	answer := &wire.Request{TypeURL: r.TypeURL, Nonce: r.Nonce}
	for _, x := range r.Resources {
		if e.refuses[x.Name+x.Version] || slices.ContainsFunc(routesIn(&x), func(r string) bool { return e.refuses[r] }) {
			answer.Error = &wire.Status{Code: 13, Message: "no good"}
			w.replies = append(w.replies, answer)
			w.warmed(r)
			w.started(kindOf(r.TypeURL))
			return
		}
	}
	kind := kindOf(r.TypeURL)
	for _, x := range r.Resources {
		if _, has := e.has[r.TypeURL][x.Name]; has && kind == "cds" && e.asks[wire.EndpointType][x.Name] {
			e.warming[x.Name], e.held = true, answer
		}
	}
	if e.held != answer {
		w.replies = append(w.replies, answer)
	}
	w.warmed(r)
	wild := kind == "cds" || kind == "lds"
	for _, x := range r.Resources {
		if !wild && !e.asks[r.TypeURL][x.Name] {
			continue
		}
		e.has[r.TypeURL][x.Name] = x.Version
		if kind == "lds" && w.taken != nil {
			w.taken(x)
		}
		e.routes[x.Name] = routesIn(&x)
		e.log = append(e.log, kind+" +"+x.Name+" "+x.Version)
		// As Envoy: a cluster asks for its endpoints, a listener for its routes and filters.
		switch kind {
		case "cds":
			body, _ := x.Body()
			w.ask(wire.EndpointType, cmp.Or(wire.EndpointsName(body), x.Name))
			w.ask(wire.SecretType, "san/"+x.Name)
		case "lds":
			w.ask(wire.RouteType, x.Name)
			if e.filters {
				w.ask(wire.ExtensionType, x.Name)
			}
		}
	}
	for _, n := range r.Removed {
		delete(e.has[r.TypeURL], n)
		e.log = append(e.log, kind+" -"+n)
		switch kind {
		case "cds":
			w.unask(wire.EndpointType, n)
			w.unask(wire.SecretType, "san/"+n)
		case "lds":
			w.unask(wire.RouteType, n)
			w.unask(wire.ExtensionType, n)
		}
	}
	w.started(kind)
}

// warmed ends the warming of clusters whose endpoints came, good or bad or as there being none. As
// Envoy: a changed cluster waits for endpoints though it has asked for them before and does not ask
// again, and as long as one waits there is no answer about clusters.
func (w *world) warmed(r *wire.Response) {
	e := &w.envoy
	if r.TypeURL == wire.EndpointType {
		for _, x := range r.Resources {
			delete(e.warming, x.Name)
		}
		for _, n := range r.Removed {
			delete(e.warming, n)
		}
	}
	if e.held != nil && len(e.warming) == 0 {
		w.replies = append(w.replies, e.held)
		e.held = nil
	}
}

// started asks for listeners after the first answer about clusters, good or bad.
func (w *world) started(kind string) {
	w.envoy.initialized = true
	if kind == "cds" && !w.envoy.begun[wire.ListenerType] {
		w.begin(wire.ListenerType)
	}
}

// reply hands the Core Envoy's oldest message.
func (w *world) reply() {
	r := w.replies[0]
	w.t.Logf("envoy->core %s sub %q unsub %q versions %v nonce %q err %v", kindOf(r.TypeURL), r.Subscribe, r.Unsubscribe, r.Versions, r.Nonce, r.Error)
	w.replies = w.replies[1:]
	w.core.EnvoyRequest(w.now, r)
}

// inform hands the Core the control plane's oldest message.
func (w *world) inform() {
	r := w.toCore[0]
	w.t.Logf("server->core %s %s removed %q nonce %q", kindOf(r.TypeURL), list(r.Resources), r.Removed, r.Nonce)
	w.toCore = w.toCore[1:]
	w.core.UpstreamResponse(w.now, r)
}

// steps are the deliveries that are possible now.
func (w *world) steps() []func() {
	var out []func()
	if w.server.up && len(w.toServer) > 0 {
		out = append(out, w.hear)
	}
	if w.server.up && len(w.toCore) > 0 {
		out = append(out, w.inform)
	}
	if w.envoy.up && len(w.toEnvoy) > 0 {
		out = append(out, w.obey)
	}
	if w.envoy.up && len(w.replies) > 0 {
		out = append(out, w.reply)
	}
	return out
}

// deliver delivers everything that is on its way.
func (w *world) deliver() {
	w.t.Helper()
	for n := 0; ; n++ {
		steps := w.steps()
		if len(steps) == 0 {
			return
		}
		if n > 10000 {
			w.t.Fatal("the messages never end")
		}
		steps[0]()
	}
}

// settle delivers everything, and lets time pass until nothing more comes of it.
func (w *world) settle() {
	w.t.Helper()
	for range 3 {
		w.deliver()
		w.timeOut()
		w.deliver()
		w.now = w.now.Add(gate + time.Second)
		w.core.Tick(w.now)
	}
}

// timeOut ends the waiting for endpoints, as Envoy does after a while. That is only right where there
// are none to be had: those that the Core knows must have come.
func (w *world) timeOut() {
	for name := range w.envoy.warming {
		if e := w.core.table(wire.EndpointType).entries[name]; e != nil && (e.best() != nil || e.absent) {
			w.t.Errorf("cluster %s waited in vain for its endpoints", name)
		}
		delete(w.envoy.warming, name)
	}
	w.warmed(&wire.Response{})
}
