// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
)

// dialFrom has proxies of a namespace ask for addresses, or no longer ask for them.
func (c *cluster) dialFrom(namespace string, ask bool, addrs ...netip.AddrPort) {
	in := Inputs{Dialled: map[netip.AddrPort]bool{}, Dialers: map[netip.AddrPort][]string{}}
	for _, a := range addrs {
		if in.Dialled[a] = ask; ask {
			in.Dialers[a] = []string{namespace}
		}
	}
	c.take(c.g.Apply(nil, in))
}

// bound makes the numbers small.
func (c *cluster) bound(known, others, refused int) {
	c.g.dialled.known.max, c.g.dialled.others.max, c.g.dialled.refused.max = known, others, refused
}

func ports(ip string, first, n int) (out []netip.AddrPort) {
	for i := range n {
		out = append(out, netip.AddrPortFrom(netip.MustParseAddr(ip), uint16(first+i)))
	}
	return out
}

func (c *cluster) want(addr, want string) {
	c.t.Helper()
	if got := c.at(addr); got != want {
		c.t.Errorf("%s: %s, want %s", addr, got, want)
	}
}

// TestOneTenantTakesAllDestinations: one namespace that asks for as many addresses as it can takes no place of
// another namespace: neither by addresses of nobody, nor by those of its own pod.
func TestOneTenantTakesAllDestinations(t *testing.T) {
	c := newCluster(t, namespaceEvent("shop", true), namespaceEvent("evil", true), podEvent("shop", "db", "10.0.0.2"), podEvent("evil", "own", "10.0.0.66"))
	const known, others = 4000, 3000
	c.bound(known, others, 2000)
	var nobodys []netip.AddrPort
	for i := range others + 2000 {
		nobodys = append(nobodys, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, byte(i >> 8), byte(i)}), uint16(80+i>>16)))
	}
	c.dialFrom("evil", true, nobodys...)
	c.dialFrom("evil", true, ports("10.0.0.66", 1, known+2000)...)
	if n := c.g.in.dialled.Len(); n != known+others+2000 {
		t.Errorf("%d addresses have an answer", n)
	}
	c.dialFrom("shop", true, ports("10.0.0.2", 8080, 100)...)
	for _, a := range ports("10.0.0.2", 8080, 100) {
		c.want(a.String(), "pod of shop/db")
	}
	c.dialFrom("shop", true, ports("10.88.0.1", 80, 1)...)
	c.want("10.88.0.1:80", "untouched")
	if n := c.g.dialled.known.held; n != known {
		t.Errorf("%d destinations, want %d", n, known)
	}
}

// TestTooManyDestinations: what a namespace asks for beyond its share is closed if it is a meshed pod's, is not
// answered if it is not, and is answered as soon as there is room.
func TestTooManyDestinations(t *testing.T) {
	c := newCluster(t, namespaceEvent("shop", true),
		podEvent("shop", "db", "10.0.0.2", func(w *model.Workload) { w.ExcludedInboundPorts = []uint16{9} }))
	c.bound(4, 2, 2)
	c.dialFrom("evil", true, ports("10.0.0.2", 100, 4)...)
	c.dialFrom("evil", true, ports("10.0.0.3", 100, 3)...)
	c.want("10.0.0.3:101", "untouched")
	c.want("10.0.0.3:102", "nothing")
	c.dialFrom("shop", true, ports("10.0.0.2", 8080, 2)...)
	c.want("10.0.0.2:8081", "pod of shop/db")
	c.want("10.0.0.2:101", "pod of shop/db")
	c.want("10.0.0.2:103", "closed") // the newest made room
	c.want("10.0.0.2:102", "closed")
	c.dialFrom("shop", true, ports("10.0.0.2", 9, 1)...)
	c.want("10.0.0.2:9", "nothing") // beyond its share, and not the proxy's port
	c.dialFrom("shop", true, ports("10.0.0.2", 8082, 1)...)
	c.want("10.0.0.2:8082", "closed") // its share of what is closed, too
	c.want("10.0.0.2:103", "nothing")
	if n := c.g.LeftOut(); n != 4 {
		t.Errorf("%d are left out, want 4", n)
	}

	c.dialFrom("evil", false, ports("10.0.0.2", 100, 4)...)
	c.want("10.0.0.2:8082", "pod of shop/db")
	c.want("10.0.0.2:9", "untouched")
	c.dialFrom("evil", false, ports("10.0.0.3", 100, 1)...)
	c.want("10.0.0.3:102", "untouched")
}

// TestAddressBecomesKnown: an address of nobody that is asked for follows what comes there, whether it had an
// answer or not, and at the cost of what changes.
func TestAddressBecomesKnown(t *testing.T) {
	c := newCluster(t, namespaceEvent("shop", true), serviceEvent("shop", "web", "10.96.0.1"), podEvent("shop", "web", "10.0.0.9"), sliceEvent("shop", "web", "10.0.0.9 web"))
	c.bound(10, 500, 10)
	for i := range 6 {
		c.dialFrom("shop", true, ports(fmt.Sprintf("10.77.0.%d", i), 1, 100)...)
	}
	c.want("10.77.0.0:7", "untouched")
	c.want("10.77.0.5:7", "nothing")
	c.dialFrom("shop", false, ports("10.77.0.0", 8, 93)...)
	c.dialFrom("shop", false, ports("10.77.0.5", 8, 93)...)
	c.bound(10, 507, 10)
	c.apply(podEvent("shop", "other", "10.99.0.1"))
	if n := c.g.Evals()["destinations"]; n != 0 {
		t.Errorf("a pod that is not asked for costs %d destinations", n)
	}
	c.apply(podEvent("shop", "new", "10.77.0.0"))
	c.want("10.77.0.0:7", "pod of shop/new")
	if n := c.g.Evals()["destinations"]; n != 7 {
		t.Errorf("a pod of which 7 ports are asked for costs %d destinations", n)
	}
	c.apply(source.Event{Kind: source.Pod, Key: model.Key{Namespace: "shop", Name: "new"}})
	c.want("10.77.0.0:7", "untouched")
	c.apply(serviceEvent("shop", "web", "10.96.0.1", func(s *model.Service) {
		s.External = []netip.Addr{netip.MustParseAddr("10.77.0.5")}
		s.Ports[0].Port = 5
	}))
	c.want("10.77.0.5:5", "mesh shop/web:5 10.0.0.9:8080")
	c.apply(serviceEvent("shop", "web", "10.96.0.1", func(s *model.Service) {
		s.Balanced = []netip.Addr{netip.MustParseAddr("10.77.0.5")}
		s.Ports[0].Port = 6
	}))
	c.want("10.77.0.5:6", "mesh shop/web:6 10.0.0.9:8080")
	c.apply(podEvent("shop", "far", "10.0.0.10", func(w *model.Workload) { w.NodeAddresses = []netip.Addr{netip.MustParseAddr("10.77.0.0")} }),
		serviceEvent("shop", "web", "10.96.0.1", func(s *model.Service) { s.Ports[0].NodePort = 3 }))
	c.want("10.77.0.0:3", "mesh shop/web:80 10.0.0.9:8080")
}

// TestClosedFollowsPods: whether an address without a place is closed follows the pods that come to it, leave it or change
// the ports that they exclude, also while something else is at the address, and at the cost of what changes.
func TestClosedFollowsPods(t *testing.T) {
	c := newCluster(t, namespaceEvent("shop", true), serviceEvent("shop", "web", "10.96.0.1", func(s *model.Service) {
		s.External = []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	}))
	c.bound(1, 1, 10)
	c.dialFrom("shop", true, ports("10.0.0.2", 80, 3)...)
	c.want("10.0.0.2:81", "nothing")
	excluding := func(ports ...uint16) func(*model.Workload) {
		return func(w *model.Workload) { w.ExcludedInboundPorts = ports }
	}
	c.apply(podEvent("shop", "db", "10.0.0.2"))
	c.want("10.0.0.2:80", "pod of shop/db")
	c.want("10.0.0.2:81", "closed")
	c.want("10.0.0.2:82", "closed")
	c.apply(podEvent("shop", "db", "10.0.0.2", excluding(81)))
	c.want("10.0.0.2:81", "nothing")
	c.want("10.0.0.2:82", "closed")
	c.apply(podEvent("shop", "db", "10.0.0.2", excluding(82)))
	c.want("10.0.0.2:81", "closed")
	c.want("10.0.0.2:82", "nothing")
	c.apply(podEvent("shop", "db", "10.0.0.2", excluding(82), func(w *model.Workload) { w.LogLevel = "debug" }))
	if n := c.g.Evals()["destinations"]; n > 1 {
		t.Errorf("a change of nothing that counts costs %d destinations", n)
	}
	c.apply(podEvent("shop", "cart", "10.0.0.2", excluding(81))) // sorts first
	c.want("10.0.0.2:81", "nothing")
	c.want("10.0.0.2:82", "closed")
	c.apply(source.Event{Kind: source.Pod, Key: model.Key{Namespace: "shop", Name: "cart"}})
	c.want("10.0.0.2:81", "closed")
	c.want("10.0.0.2:82", "nothing")
	c.apply(podEvent("shop", "db", "10.0.0.2", func(w *model.Workload) { w.Ended = true }))
	c.want("10.0.0.2:81", "nothing")
}

// TestUnknownAddressesLeadNowhere: after any history, nothing is at the addresses that are not looked up.
func TestUnknownAddressesLeadNowhere(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range 10 {
		w := &world{rnd: rand.New(rand.NewPCG(seed, uint64(round)))}
		g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
		g.Apply([]source.Event{class()}, testSettings())
		there := map[netip.AddrPort]bool{}
		for range 80 {
			g.Apply([]source.Event{w.event(), w.event()}, Inputs{Dialled: w.dialled(there)})
		}
		got, looked := map[netip.AddrPort]model.Destination{}, 0
		for a, d := range g.destinations.clusters.All() {
			got[a] = d
		}
		for a := range there {
			if what, ok := g.in.dialled.Value(a); !ok || what == closed {
				t.Fatalf("seed %d, round %d: %s: %v %v", seed, round, a, what, ok)
			} else if what == lookedUp {
				looked++
			}
			g.in.dialled.Set(a, lookedUp)
		}
		g.engine.Commit(nil)
		want := map[netip.AddrPort]model.Destination{}
		for a, d := range g.destinations.clusters.All() {
			want[a] = d
		}
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
			t.Fatalf("seed %d, round %d: looked up (-), as answered (+):\n%s", seed, round, d)
		}
		t.Logf("%d of %d are looked up", looked, len(there))
	}
}

// TestClosedDestination: the cluster has no endpoints, and is another version than what passes.
func TestClosedDestination(t *testing.T) {
	c := newCluster(t, namespaceEvent("shop", true), podEvent("shop", "db", "10.0.0.2"))
	c.bound(1, 1, 1)
	c.dialFrom("shop", true, ports("10.0.0.2", 80, 2)...)
	c.want("10.0.0.2:81", "closed")
	r := c.all[xds.Key{TypeURL: envoy.ClusterType, Name: "to/10.0.0.2:81"}]
	got := &clusterv3.Cluster{}
	if err := proto.Unmarshal(r.Body, got); err != nil {
		t.Fatal(err)
	}
	if got.GetName() != "to/10.0.0.2:81" || got.GetType() != clusterv3.Cluster_STATIC || got.GetLoadAssignment() != nil || got.GetTransportSocket() != nil {
		t.Errorf("%v", got)
	}
	c.dialFrom("shop", true, ports("10.77.0.1", 81, 1)...)
	if r.Version == c.all[xds.Key{TypeURL: envoy.ClusterType, Name: "to/10.77.0.1:81"}].Version {
		t.Error("it has the version of what passes")
	}
}
