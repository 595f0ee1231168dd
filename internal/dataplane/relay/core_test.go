// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// shop is a world with two Services, settled.
func shop(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	w.scope(own, protocol.Scope{Include: []string{"scope/ns"}, Clusters: []string{"std"}, Listeners: []string{"in"}, Proxy: &protocol.Proxy{LogLevel: "info"}})
	w.scope("scope/ns", protocol.Scope{Clusters: []string{"a", "b"}, Listeners: []string{"a", "b"}})
	for _, n := range []string{"std", "a", "b"} {
		w.put("cds "+n+" 1", "eds "+n+" 1", "sds san/"+n+" 1")
	}
	for _, n := range []string{"in", "a", "b"} {
		w.put("lds "+n+" 1", "rds "+n+" 1")
	}
	w.connect()
	w.boot()
	w.settle()
	return w
}

func (w *world) want(what string, url string, has map[string]string) {
	w.t.Helper()
	if d := cmp.Diff(has, w.envoy.has[url]); d != "" {
		w.t.Errorf("%s (-want +got):\n%s", what, d)
	}
}

func TestFirstConfiguration(t *testing.T) {
	w := shop(t)
	w.want("clusters", wire.ClusterType, map[string]string{"std": "1", "a": "1", "b": "1"})
	w.want("listeners", wire.ListenerType, map[string]string{"in": "1", "a": "1", "b": "1"})
	w.want("routes", wire.RouteType, map[string]string{"in": "1", "a": "1", "b": "1"})
	w.want("endpoints", wire.EndpointType, map[string]string{"std": "1", "a": "1", "b": "1"})
	if s := w.core.Status(); s.Waiting != "" || len(s.Rejected) > 0 || s.Resources[wire.ClusterType] != 3 {
		t.Errorf("status %+v", s)
	}
	if w.proxy.LogLevel != "info" {
		t.Errorf("proxy settings %+v", w.proxy)
	}
	if i, j := firstOf(w.envoy.log, "lds"), lastOf(w.envoy.log, "cds"); i < j {
		t.Errorf("a listener came before the last cluster: %q", w.envoy.log)
	}
	for _, k := range []string{"cds a", "lds b", "rds in", "eds std"} {
		kind, name, _ := strings.Cut(k, " ")
		if v := w.server.acked[urls[kind]+name]; v != "1" {
			t.Errorf("%s is acknowledged at %q, want 1", k, v)
		}
	}
}

func firstOf(log []string, kind string) int {
	return slices.IndexFunc(log, func(s string) bool { return strings.HasPrefix(s, kind) })
}

func lastOf(log []string, kind string) int {
	last := -1
	for i, s := range log {
		if strings.HasPrefix(s, kind) {
			last = i
		}
	}
	return last
}

// TestAcknowledgement: not before Envoy's.
func TestAcknowledgement(t *testing.T) {
	w := shop(t)
	w.put("rds a 2")
	w.inform()
	if len(w.toServer) > 0 {
		t.Fatalf("answered before Envoy has: %+v", w.toServer[0])
	}
	w.obey()
	if len(w.toServer) > 0 {
		t.Fatalf("answered before Envoy's answer was here: %+v", w.toServer[0])
	}
	w.reply()
	if len(w.toServer) != 1 || w.toServer[0].Nonce == "" || w.toServer[0].Error != nil {
		t.Fatalf("after Envoy's ACK the control plane gets %+v", w.toServer)
	}
}

// TestChangedCluster: it is followed by its endpoints, changed or not, told absent or there, even if
// they are on their way already: Envoy answers about clusters when they have come.
func TestChangedCluster(t *testing.T) {
	w := shop(t)
	w.put("cds a 2")
	w.deliver()
	if v := w.server.acked[wire.ClusterType+"a"]; v != "2" {
		t.Errorf("the changed cluster is acknowledged at %q, want 2", v)
	}
	w.remove("eds", "b")
	w.deliver()
	w.put("cds b 2")
	w.deliver()
	if v := w.server.acked[wire.ClusterType+"b"]; v != "2" {
		t.Errorf("the cluster without endpoints is acknowledged at %q, want 2", v)
	}
	w.put("eds a 2")
	w.inform()
	w.put("cds a 3")
	w.inform()
	w.deliver()
	if v := w.server.acked[wire.ClusterType+"a"]; v != "3" {
		t.Errorf("the cluster that crossed its endpoints is acknowledged at %q, want 3", v)
	}
}

// TestRefusal: one bad resource costs no other its way, and never replaces a good one.
func TestRefusal(t *testing.T) {
	w := shop(t)
	w.envoy.refuses["b2"] = true
	w.put("cds std 2", "cds a 2", "cds b 2") // the first goes alone, the others in one response
	w.settle()
	w.want("clusters", wire.ClusterType, map[string]string{"std": "2", "a": "2", "b": "1"})
	if len(w.server.nacks) != 1 || w.server.nacks[0] != "b: no good" {
		t.Errorf("NACKs %q, want one that names b in Envoy's words", w.server.nacks)
	}
	if d := cmp.Diff(map[string]string{"b": "b: no good"}, w.core.Status().Rejected); d != "" {
		t.Errorf("rejected (-want +got):\n%s", d)
	}
	// Another replica sends the bad one again: it is refused without asking Envoy.
	w.disconnect()
	w.connect()
	heard := len(w.envoy.log)
	w.settle()
	if len(w.server.nacks) != 2 || len(w.envoy.log) != heard {
		t.Errorf("after reconnecting: NACKs %q, Envoy heard %q", w.server.nacks, w.envoy.log[heard:])
	}
	// An Envoy that starts anew gets the good one.
	w.detach()
	w.boot()
	w.settle()
	w.want("clusters of a new Envoy", wire.ClusterType, map[string]string{"std": "2", "a": "2", "b": "1"})
	w.put("cds b 3")
	w.settle()
	w.want("clusters", wire.ClusterType, map[string]string{"std": "2", "a": "2", "b": "3"})
	if len(w.core.Status().Rejected) > 0 {
		t.Errorf("still rejected: %v", w.core.Status().Rejected)
	}
}

// TestRefusalOfAListenerThatIsNeeded: without its inbound listener a proxy does not say that it has all,
// for it would take over from one that works; of a former version it does.
func TestRefusalOfAListenerThatIsNeeded(t *testing.T) {
	in := names.Inbound("shop", "cart-0")
	w := newWorld(t)
	w.scope(own, protocol.Scope{Clusters: []string{"a"}, Listeners: []string{in, "a"}})
	w.put("cds a 1", "eds a 1", "sds san/a 1", "lds a 1", "rds a 1", "lds "+in+" 1")
	w.envoy.refuses[in+"1"] = true
	w.connect()
	w.boot()
	w.settle()
	if s := w.core.Status(); !strings.Contains(s.Waiting, "refuses") || !strings.Contains(s.Waiting, in) {
		t.Errorf("waits for %q", s.Waiting)
	}
	w.put("lds " + in + " 2")
	w.settle()
	if s := w.core.Status(); s.Waiting != "" {
		t.Errorf("waits for %q", s.Waiting)
	}
	w.envoy.refuses[in+"3"] = true
	w.put("lds " + in + " 3")
	w.settle()
	if s := w.core.Status(); s.Waiting != "" || len(s.Rejected) != 1 {
		t.Errorf("waits for %q, rejected %v", s.Waiting, s.Rejected)
	}
}

// TestRefusalOfTheFirst: there is no good one to fall back on; another Envoy may try it.
func TestRefusalOfTheFirst(t *testing.T) {
	w := newWorld(t)
	w.scope(own, protocol.Scope{Clusters: []string{"a", "b"}, Listeners: []string{"a"}})
	w.put("cds a 1", "cds b 1", "eds a 1", "sds san/a 1", "lds a 1", "rds a 1")
	w.envoy.refuses["b1"] = true
	w.connect()
	w.boot()
	w.settle()
	w.want("clusters", wire.ClusterType, map[string]string{"a": "1"})
	w.detach()
	w.boot()
	w.settle()
	w.want("clusters of another Envoy", wire.ClusterType, map[string]string{"a": "1"})
	if s := w.core.Status(); s.Waiting != "" {
		t.Errorf("waits for a cluster that was refused: %s", s.Waiting)
	}
	w.detach()
	delete(w.envoy.refuses, "b1")
	w.boot()
	w.settle()
	w.want("clusters of an Envoy that takes it", wire.ClusterType, map[string]string{"a": "1", "b": "1"})
}

func TestLosingTheControlPlane(t *testing.T) {
	w := shop(t)
	w.disconnect()
	w.settle()
	w.detach()
	w.boot()
	w.settle()
	w.want("listeners of a new Envoy", wire.ListenerType, map[string]string{"in": "1", "a": "1", "b": "1"})
	w.want("endpoints of a new Envoy", wire.EndpointType, map[string]string{"std": "1", "a": "1", "b": "1"})
	if s := w.core.Status(); s.Waiting != "" || s.Connected {
		t.Errorf("status %+v", s)
	}
	w.put("eds a 2")
	sent := len(w.server.sent)
	w.connect()
	w.settle()
	if d := cmp.Diff([]string{"eds a 2"}, w.server.sent[sent:]); d != "" {
		t.Errorf("sent after reconnecting (-want +got):\n%s", d)
	}
	w.want("endpoints", wire.EndpointType, map[string]string{"std": "1", "a": "2", "b": "1"})
}

// TestAdoptedEnvoy: a new agent, without any configuration, gets an Envoy that has one.
func TestAdoptedEnvoy(t *testing.T) {
	old := shop(t)
	w := newWorld(t)
	w.server.have, w.envoy = old.server.have, old.envoy
	heard := len(w.envoy.log)
	w.attach()
	w.settle()
	if len(w.envoy.log) != heard {
		t.Errorf("without a control plane Envoy heard %q", w.envoy.log[heard:])
	}
	w.put("cds a 2")
	w.scope("scope/ns", protocol.Scope{Clusters: []string{"a"}, Listeners: []string{"a"}})
	w.connect()
	w.settle()
	w.want("clusters", wire.ClusterType, map[string]string{"std": "1", "a": "2"})
	w.want("listeners", wire.ListenerType, map[string]string{"in": "1", "a": "1"})
	log := w.envoy.log[heard:]
	if !slices.Contains(log, "eds +a 1") {
		t.Errorf("the endpoints of a cluster that was sent were not: %q", log)
	}
	if lastOf(log, "lds -b") > firstOf(log, "cds -b") {
		t.Errorf("the cluster left before its listener: %q", log)
	}
	for _, l := range log {
		if !slices.Contains([]string{"cds +a 2", "eds +a 1", "lds -b", "cds -b"}, l) {
			t.Errorf("Envoy heard %q, which it had", l)
		}
	}
}

func TestAbsentNames(t *testing.T) {
	w := shop(t)
	w.remove("rds", "a")
	w.remove("cds", "b")
	w.settle()
	w.want("routes", wire.RouteType, map[string]string{"in": "1", "b": "1"})
	w.want("clusters", wire.ClusterType, map[string]string{"std": "1", "a": "1"})
	w.put("rds a 2", "cds b 2")
	w.settle()
	w.want("routes", wire.RouteType, map[string]string{"in": "1", "a": "2", "b": "1"})
	w.want("clusters", wire.ClusterType, map[string]string{"std": "1", "a": "1", "b": "2"})
	// Names that never existed do not keep the others back for ever.
	w.scope("scope/ns", protocol.Scope{Clusters: []string{"a", "b", "none"}, Listeners: []string{"a", "none"}})
	w.settle()
	w.want("listeners", wire.ListenerType, map[string]string{"in": "1", "a": "1"})
	if s := w.core.Status(); s.Waiting != "" {
		t.Errorf("still waiting: %s", s.Waiting)
	}
}

// TestFilters: filters come after the clusters that they name and before these go.
func TestFilters(t *testing.T) {
	w := shop(t)
	w.envoy.filters = true
	w.scope("scope/ns", protocol.Scope{Clusters: []string{"a", "b", "c"}, Listeners: []string{"a", "b", "c"}})
	w.put("cds c 1", "eds c 1", "sds san/c 1", "lds c 1", "rds c 1", "ecds c 1")
	w.settle()
	w.want("filters", wire.ExtensionType, map[string]string{"c": "1"})
	if log := w.envoy.log; firstOf(log, "ecds +c") < firstOf(log, "cds +c") {
		t.Errorf("the filter came before its cluster: %q", log)
	}
	heard := len(w.envoy.log)
	w.scope("scope/ns", protocol.Scope{Clusters: []string{"a", "b", "d"}, Listeners: []string{"a", "b", "c"}})
	w.put("ecds c 2", "cds d 1", "eds d 1", "sds san/d 1")
	w.settle()
	w.now = w.now.Add(linger)
	w.core.Tick(w.now)
	w.settle()
	w.want("filters", wire.ExtensionType, map[string]string{"c": "2"})
	log := w.envoy.log[heard:]
	if add, to, gone := firstOf(log, "cds +d"), firstOf(log, "ecds +c 2"), firstOf(log, "cds -c"); add < 0 || to < add || gone < to {
		t.Errorf("a filter went from one cluster to another as %q", log)
	}
	w.scope("scope/ns", protocol.Scope{Clusters: []string{"a", "b", "d"}, Listeners: []string{"a", "b"}})
	w.settle()
	w.want("filters", wire.ExtensionType, map[string]string{})
	if len(w.server.subs[wire.ExtensionType]) > 0 {
		t.Errorf("subscribed to %v", w.server.subs[wire.ExtensionType])
	}
}

func TestScopes(t *testing.T) {
	w := shop(t)
	// Scopes include others in turn, and cycles end.
	w.scope("scope/ns", protocol.Scope{Include: []string{"scope/more", own, "scope/none"}, Clusters: []string{"a"}})
	w.scope("scope/more", protocol.Scope{Include: []string{"scope/ns"}, Clusters: []string{"c"}})
	w.put("cds c 1")
	w.settle()
	w.want("clusters", wire.ClusterType, map[string]string{"std": "1", "a": "1", "c": "1"})
	// A scope that cannot be read is refused; the former stays.
	w.put("scope " + own + " {")
	w.settle()
	if len(w.server.nacks) != 1 || !strings.Contains(w.server.nacks[0], own) {
		t.Errorf("NACKs %q", w.server.nacks)
	}
	// The proxy's own scope is gone: it keeps what it has.
	w.remove("scope", own)
	w.settle()
	w.want("clusters", wire.ClusterType, map[string]string{"std": "1", "a": "1", "c": "1"})
	// Subscriptions that follow from a scope go up before its acknowledgement.
	w.scope("scope/more", protocol.Scope{Clusters: []string{"c", "d"}})
	w.inform()
	if n := len(w.toServer); n != 2 || w.toServer[0].TypeURL != wire.ClusterType || w.toServer[1].TypeURL != protocol.ScopeType {
		t.Errorf("%d messages went up, want the subscription and then the acknowledgement", n)
	}
}

// TestClustersLinger: what has left the scope stays for a moment, and for as long as Envoy has not taken
// the routes that are on their way: the former ones may still name it.
func TestClustersLinger(t *testing.T) {
	w := shop(t)
	w.scope("scope/ns", protocol.Scope{Clusters: []string{"a"}, Listeners: []string{"a", "b"}})
	w.deliver()
	w.want("clusters", wire.ClusterType, map[string]string{"std": "1", "a": "1", "b": "1"})
	w.now = w.now.Add(linger - time.Second)
	w.core.Tick(w.now)
	w.put("rds b 2")
	for len(w.toCore) == 0 {
		w.serve()
	}
	w.inform()
	w.now = w.now.Add(linger)
	w.core.Tick(w.now) // the route has gone to Envoy, which has not said anything yet
	if len(w.toEnvoy) != 1 || w.toEnvoy[0].TypeURL != wire.RouteType {
		t.Errorf("%d messages are on their way to Envoy, want the route alone", len(w.toEnvoy))
	}
	w.settle()
	w.want("clusters", wire.ClusterType, map[string]string{"std": "1", "a": "1"})
}

func TestLocalSecret(t *testing.T) {
	w := shop(t)
	w.ask(wire.SecretType, names.Identity)
	w.settle()
	if v, ok := w.envoy.has[wire.SecretType][names.Identity]; ok {
		t.Errorf("there is no identity yet, and Envoy has %q", v)
	}
	for _, v := range []string{"1", "2"} {
		w.core.SetLocal(w.now, wire.SecretType, wire.NewResource(wire.SecretType, names.Identity, v, nil))
		w.settle()
		if got := w.envoy.has[wire.SecretType][names.Identity]; got != v {
			t.Errorf("Envoy has identity %q, want %q", got, v)
		}
	}
	if _, ok := w.server.subs[wire.SecretType][names.Identity]; ok {
		t.Error("the agent's own secret was asked for upstream")
	}
}

// TestPrune: what the former Envoy wanted and the new one does not is unsubscribed from, in time.
func TestPrune(t *testing.T) {
	w := shop(t)
	w.ask(wire.RouteType, "extra")
	w.put("rds extra 1")
	w.settle()
	w.detach()
	w.boot()
	w.settle()
	w.now = w.now.Add(2 * settling)
	w.core.Tick(w.now)
	w.settle()
	if _, ok := w.server.subs[wire.RouteType]["extra"]; ok {
		t.Error("the new Envoy never asked for the route, and the agent still subscribes to it")
	}
	w.want("routes", wire.RouteType, map[string]string{"in": "1", "a": "1", "b": "1"})
}

// TestUnknownType: an answer is due even to what was never asked for.
func TestUnknownType(t *testing.T) {
	w := shop(t)
	w.server.out["type/unknown"] = &wire.Response{Nonce: "n"}
	w.server.subs["type/unknown"] = map[string]string{}
	w.core.UpstreamResponse(w.now, &wire.Response{TypeURL: "type/unknown", Nonce: "n"})
	w.settle()
	if len(w.server.nacks) != 1 {
		t.Errorf("NACKs %q, want one", w.server.nacks)
	}
	w.core.EnvoyRequest(w.now, &wire.Request{TypeURL: "type/unknown"})
	w.settle()
}
