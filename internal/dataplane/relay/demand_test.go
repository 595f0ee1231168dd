// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package relay

import (
	"fmt"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// demandChain is a chain with that name for the network N.0.0.0/8.
func demandChain(t *testing.T, name string, network int) []byte {
	t.Helper()
	b, err := proto.Marshal(&listenerv3.FilterChain{Name: name, FilterChainMatch: &listenerv3.FilterChainMatch{
		PrefixRanges: []*corev3.CidrRange{{AddressPrefix: fmt.Sprintf("%d.0.0.0", network), PrefixLen: wrapperspb.UInt32(8)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// demands has the scope of the mesh want these chains.
func (w *world) demands(chains ...[]byte) {
	w.scope(names.ScopeMesh, protocol.Scope{OutboundChains: chains})
	w.deliver()
}

// chainsOf has the world follow which chains the listener has in Envoy.
func (w *world) chainsOf() (names func() string) {
	var last string
	w.taken = func(x wire.Resource) {
		last = ""
		body, err := x.Body()
		if err != nil {
			w.t.Fatal(err)
		}
		_, raw, _ := strings.Cut(string(body), x.Version[:1]) // the test's listeners are their version
		l := &listenerv3.Listener{}
		if err := proto.Unmarshal([]byte(raw), l); err != nil {
			w.t.Fatal(err)
		}
		for _, c := range l.GetFilterChains() {
			last += " " + c.GetName()
		}
	}
	return func() string { return strings.TrimSpace(last) }
}

// TestOutboundChains: the chains of the scope are added to the one listener, and go with it upstream at the
// control plane's own version.
func TestOutboundChains(t *testing.T) {
	w := dials(t)
	version := func() string { return w.envoy.has[wire.ListenerType][names.Outbound] }
	has := w.chainsOf()
	first := version()
	if !strings.HasPrefix(first, "1~") {
		t.Fatalf("the listener is at %q, want 1 with an addition", first)
	}
	one, another := demandChain(t, "on-demand", 10), demandChain(t, "on-demand 20", 20)
	w.demands(one, another)
	if v := version(); v == first || !strings.HasPrefix(v, "1~") || has() != "on-demand on-demand 20" {
		t.Errorf("with another chain the listener is at %q with %s", v, has())
	}
	sent := len(w.server.sent)
	w.disconnect()
	w.connect()
	w.settle()
	if len(w.server.sent) != sent {
		t.Errorf("sent after reconnecting: %q", w.server.sent[sent:])
	}
	// The listener's next version has them too.
	w.put("lds std/outbound 2")
	w.deliver()
	if v := version(); !strings.HasPrefix(v, "2~") || has() != "on-demand on-demand 20" {
		t.Errorf("the next version of the listener is at %q with %s", v, has())
	}
}

// TestOutboundChainsStay: a chain that no scope has any more stays while its Envoy lives, for the connections
// that came through it. The same chain with other contents replaces it.
func TestOutboundChainsStay(t *testing.T) {
	w := dials(t)
	has := w.chainsOf()
	one, another := demandChain(t, "on-demand", 10), demandChain(t, "on-demand 20", 20)
	w.demands(one, another)
	w.demands(one)
	if got := has(); got != "on-demand on-demand 20" {
		t.Errorf("a network has gone, and the listener has %s", got)
	}
	w.demands(one, demandChain(t, "on-demand 20", 21))
	if got := has(); got != "on-demand on-demand 20" {
		t.Errorf("with another chain of that name the listener has %s", got)
	}
	w.demands(demandChain(t, "renamed", 21))
	if got := has(); got != "renamed on-demand" {
		t.Errorf("with another chain for that network the listener has %s", got)
	}
	// A control plane that knows of no chains knows of no destinations: connections do not wait for it.
	w.demands()
	if got := has(); got != "renamed on-demand" {
		t.Errorf("without chains in the scope the listener has %s", got)
	}
	w.dial(there)
	w.deliver()
	if v := w.cluster(there); v != passed {
		t.Errorf("a destination is at %q at once, want the agent's own", v)
	}
	w.demands(one)
	w.dial("to/10.0.0.2:80")
	w.deliver()
	if v := w.cluster("to/10.0.0.2:80"); v != "" {
		t.Errorf("with chains again a destination is at %q at once", v)
	}
	// Another Envoy has no connections.
	w.detach()
	w.boot()
	w.settle()
	if got := has(); got != "on-demand" {
		t.Errorf("another Envoy's listener has %s", got)
	}
	w.demands()
	w.detach()
	w.boot()
	w.settle()
	if v := w.envoy.has[wire.ListenerType][names.Outbound]; v != "1" {
		t.Errorf("without chains another Envoy's listener is at %q, want 1", v)
	}
}

// TestOutboundChainsThatCannotStay: if Envoy refuses the listener, it gets it without the chains that no
// scope has any more before anything is called refused.
func TestOutboundChainsThatCannotStay(t *testing.T) {
	w := dials(t)
	has := w.chainsOf()
	w.demands(demandChain(t, "on-demand", 10), demandChain(t, "on-demand 20", 20))
	both := w.envoy.has[wire.ListenerType][names.Outbound]
	w.demands(demandChain(t, "on-demand", 10))
	if now := w.envoy.has[wire.ListenerType][names.Outbound]; now != both {
		t.Fatalf("the listener was %q and is %q", both, now)
	}
	w.envoy.refuses[names.Outbound+strings.Replace(both, "1~", "2~", 1)] = true
	w.put("lds std/outbound 2")
	w.deliver()
	if got := has(); got != "on-demand" || len(w.core.Status().Rejected) > 0 || len(w.server.nacks) > 0 {
		t.Errorf("the listener has %s; rejected: %v %v", got, w.core.Status().Rejected, w.server.nacks)
	}
	if v := w.envoy.has[wire.ListenerType][names.Outbound]; !strings.HasPrefix(v, "2~") {
		t.Errorf("the listener is at %q, want 2", v)
	}
}

// TestDestinationRefused: a cluster of a destination that Envoy refuses is shown as any other, and
// connections are closed until there is a better one: they neither hang nor pass in plaintext.
func TestDestinationRefused(t *testing.T) {
	for name, before := range map[string]bool{"at first": false, "after it passed untouched": true} {
		t.Run(name, func(t *testing.T) {
			w := dials(t)
			w.put("cds std/blackhole 1", "eds std/blackhole 1", "sds san/std/blackhole 1")
			w.scope(own, protocol.Scope{
				Include: []string{names.ScopeMesh}, Clusters: []string{names.Passthrough, names.Blackhole}, Listeners: []string{names.Outbound},
			})
			w.settle()
			if before {
				w.dial(there)
				w.settle()
				if v := w.cluster(there); v != passed {
					t.Fatalf("the destination is at %q", v)
				}
			} else {
				w.dial(there)
			}
			w.envoy.refuses[there+"1"] = true
			w.put("cds " + there + " 1")
			w.deliver()
			check := func(what string) {
				t.Helper()
				if v := w.cluster(there); v != closed {
					t.Errorf("%s: Envoy has the destination at %q, want it closed", what, v)
				}
				if s := w.core.Status(); s.Rejected[there] == "" || s.Waiting != "" {
					t.Errorf("%s: rejected %q, waiting %q", what, s.Rejected, s.Waiting)
				}
			}
			check("refused")
			if len(w.server.nacks) != 1 {
				t.Errorf("the control plane heard %q", w.server.nacks)
			}
			w.disconnect()
			w.connect()
			w.settle()
			check("sent again")
			w.put("cds " + there + " 2")
			w.deliver()
			if v := w.cluster(there); v != "2" || len(w.core.Status().Rejected) > 0 {
				t.Errorf("a better one is at %q, rejected %q", v, w.core.Status().Rejected)
			}
		})
	}
}

// TestDestinationsShareEndpoints: a destination that is a Service's has the endpoints of its port, which Envoy
// does not ask for again: they go along with the cluster, and whenever it changes.
func TestDestinationsShareEndpoints(t *testing.T) {
	w := dials(t)
	w.put("cds out/shop/web/80 1", "eds out/shop/web/80 1", "sds san/out/shop/web/80 1")
	w.scope(own, protocol.Scope{
		Include: []string{names.ScopeMesh}, Clusters: []string{names.Passthrough, "out/shop/web/80"}, Listeners: []string{names.Outbound},
	})
	w.settle()
	sent := len(w.server.sent)
	for _, version := range []string{"1", "2"} {
		b, err := proto.Marshal(&clusterv3.Cluster{EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{ServiceName: "out/shop/web/80"}})
		if err != nil {
			t.Fatal(err)
		}
		heard := len(w.envoy.log)
		w.store(wire.ClusterType, there, resource{version, b})
		if version == "1" {
			w.dial(there)
		}
		w.deliver()
		log := w.envoy.log[heard:]
		if len(log) < 2 || log[0] != "cds +"+there+" "+version || log[1] != "eds +out/shop/web/80 1" {
			t.Errorf("version %s: Envoy heard %q", version, log)
		}
	}
	if list := w.server.sent[sent:]; lastOf(list, "eds") >= 0 {
		t.Errorf("the control plane has sent %q", list)
	}
	if w.server.subs[wire.EndpointType][there] != "" {
		t.Error("the agent asks for endpoints of the destination's own")
	}
}
