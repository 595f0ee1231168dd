// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"fmt"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/protocol"
)

// TestVariants: a variant of routes comes under the control plane's name and goes to Envoy under the one
// that its listener has; the listener stays while the variant comes and goes.
func TestVariants(t *testing.T) {
	w := shop(t)
	heard := len(w.envoy.log)
	w.put("rds a/x 7")
	w.scope("scope/variants", protocol.Scope{Variants: &protocol.Variants{Routes: map[string]string{"a": "a/x"}}})
	own1 := protocol.Scope{
		Include: []string{"scope/old"}, Clusters: []string{"std"}, Listeners: []string{"in", "a/x"},
		Instead: &protocol.Scope{Include: []string{"scope/ns", "scope/variants"}, Clusters: []string{"std"}, Listeners: []string{"in"}},
	}
	w.scope(own, own1)
	w.settle()
	w.want("routes", wire.RouteType, map[string]string{"in": "1", "a": "7", "b": "1"})
	w.want("listeners", wire.ListenerType, map[string]string{"in": "1", "a": "1", "b": "1"})
	if v := w.server.acked[wire.RouteType+"a/x"]; v != "7" {
		t.Errorf("version %q of the variant is acknowledged, want 7", v)
	}
	if _, ok := w.server.subs[wire.RouteType]["a"]; ok {
		t.Error("still subscribed to what the variant replaces")
	}
	// The control plane removes the variant before the scope that says so is here: the routes stay.
	w.remove("rds", "a/x")
	w.settle()
	w.want("routes", wire.RouteType, map[string]string{"in": "1", "a": "7", "b": "1"})
	w.scope(own, protocol.Scope{Include: []string{"scope/ns"}, Clusters: []string{"std"}, Listeners: []string{"in"}})
	w.settle()
	w.want("routes", wire.RouteType, map[string]string{"in": "1", "a": "1", "b": "1"})
	for _, s := range w.envoy.log[heard:] {
		if strings.HasPrefix(s, "lds") {
			t.Errorf("a listener has changed: %s", s)
		}
	}
}

// TestKeptChains: a Service's listener keeps the chain that it had beside the one that takes new
// connections, also when it has that one again; and keeps none when more than chains has changed.
func TestKeptChains(t *testing.T) {
	const name = "out/shop/db/80"
	w := newWorld(t)
	w.scope(own, protocol.Scope{Listeners: []string{name}})
	put := func(version, prefix string, backlog uint32) {
		l := &listenerv3.Listener{Name: "another", FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{Name: prefix}}}}}
		if backlog > 0 {
			l.StatPrefix = "changed"
		}
		b, err := proto.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		w.store(wire.ListenerType, name, resource{version, b})
	}
	var last *listenerv3.Listener
	w.taken = func(x wire.Resource) {
		b, err := x.Body()
		last = &listenerv3.Listener{}
		if err != nil || proto.Unmarshal(b, last) != nil || last.Validate() != nil {
			t.Fatalf("%v %v: %v", err, last.Validate(), last)
		}
	}
	want := func(chains ...string) {
		t.Helper()
		w.settle()
		var got []string
		for _, c := range last.GetFilterChains() {
			got = append(got, c.GetFilters()[0].GetName())
		}
		if last.GetName() != name || strings.Join(got, " ") != strings.Join(chains, " ") {
			t.Errorf("listener %s has the chains %q, want %q", last.GetName(), got, chains)
		}
		chosen := ""
		if a := last.GetFilterChainMatcher().GetOnNoMatch().GetAction().GetTypedConfig(); a != nil {
			chosen = string(a.GetValue()[2:])
		}
		if first := last.GetFilterChains()[0].GetName(); len(chains) > 1 && chosen != first || len(chains) == 1 && chosen != "" {
			t.Errorf("%q takes new connections, want %q", chosen, first)
		}
	}
	put("1", "bytes", 0)
	w.connect()
	w.boot()
	want("bytes")
	put("2", "http", 0)
	want("http", "bytes")
	put("3", "bytes", 0)
	want("bytes", "http")
	put("4", "more", 0)
	want("more", "bytes", "http")
	put("5", "other", 0)
	want("other", "more", "bytes") // the oldest has the drain time
	put("6", "other", 1)
	want("other")
	// Another Envoy has nothing to keep.
	put("7", "bytes", 1)
	want("bytes", "other")
	w.detach()
	w.boot()
	want("bytes")
	// One that Envoy refuses is no reason to keep none later.
	put("8", "http", 1)
	want("http", "bytes")
	w.envoy.refuses[name+"9"] = true
	put("9", "broken", 1)
	want("http", "bytes")
	put("10", "more", 1)
	want("more", "http", "bytes")
}

// TestKeptChainsOfAProxy: the bound for all listeners counts chains, of one response too.
func TestKeptChainsOfAProxy(t *testing.T) {
	w := newWorld(t)
	const services = keepInAll
	var all []string
	for n := range services {
		all = append(all, fmt.Sprintf("out/shop/s%d/80", n))
	}
	w.scope(own, protocol.Scope{Listeners: all})
	kept := map[string]int{}
	w.taken = func(x wire.Resource) {
		b, err := x.Body()
		l := &listenerv3.Listener{}
		if err != nil || proto.Unmarshal(b, l) != nil {
			t.Fatal(err)
		}
		kept[x.Name] = len(l.GetFilterChains()) - 1
	}
	for version := range 4 {
		if version == 0 {
			w.connect()
			w.boot()
		}
		w.disconnect()
		for _, name := range all {
			l := &listenerv3.Listener{FilterChains: []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{Name: fmt.Sprint(version)}}}}}
			b, err := proto.Marshal(l)
			if err != nil {
				t.Fatal(err)
			}
			w.store(wire.ListenerType, name, resource{fmt.Sprint(version), b})
		}
		w.connect()
		w.settle()
		sum := 0
		for _, n := range kept {
			sum += n
		}
		if sum > keepInAll || version > 0 && sum < keepInAll/2 {
			t.Errorf("after change %d all listeners keep %d chains, want at most %d", version, sum, keepInAll)
		}
	}
}
