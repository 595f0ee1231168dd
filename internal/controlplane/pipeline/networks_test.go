// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/names"
)

// networksOnDemand are the public networks of the mesh's scope.
func (c *cluster) networksOnDemand() (out []string) {
	for _, s := range c.g.scopes.all {
		if sc, ok := s.Value(names.ScopeMesh); ok {
			for _, d := range sc.OnDemand[1:] {
				out = append(out, d.Prefixes[0].String())
			}
		}
	}
	return out
}

// TestNetworksAreBounded: Services without meshed pods add no network, and one with thousands of external
// IPs takes none from pods, load balancers and nodes.
func TestNetworksAreBounded(t *testing.T) {
	many := func(s *model.Service) {
		for i := range 5000 {
			s.External = append(s.External, netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 4}))
		}
	}
	c := newCluster(t, namespaceEvent("shop", true), podEvent("shop", "web", "10.0.0.5"),
		namespaceEvent("tenant", false), podEvent("tenant", "bare", "10.0.0.6", func(w *model.Workload) { w.Kind = "" }),
		serviceEvent("tenant", "x", "10.9.0.1", many), sliceEvent("tenant", "x", "10.0.0.6 bare"))
	if got := c.networksOnDemand(); len(got) != 0 || len(c.g.Ignored()) != 0 {
		t.Fatalf("without a meshed pod: %v, %d ignored", got, len(c.g.Ignored()))
	}
	c.apply(sliceEvent("tenant", "x", "10.0.0.5"))
	if got := c.networksOnDemand(); len(got) != maxNetworks || got[0] != "20.0.0.0/24" || got[63] != "20.0.63.0/24" {
		t.Errorf("with a meshed pod: %v", got)
	}
	if n := len(c.g.Ignored()); n != 5000-maxNetworks {
		t.Errorf("%d networks are ignored", n)
	}
	c.apply(serviceEvent("shop", "lb", "10.9.0.2", func(s *model.Service) { s.Balanced = []netip.Addr{netip.MustParseAddr("203.0.113.7")} }),
		sliceEvent("shop", "lb", "10.0.0.5 web"),
		podEvent("shop", "public", "198.51.100.9", func(w *model.Workload) { w.NodeAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.1")} }))
	got := c.networksOnDemand()
	if d := cmp.Diff([]string{"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"}, got[61:]); d != "" || len(got) != maxNetworks {
		t.Errorf("%d networks, of them other than external IPs': %s", len(got), d)
	}
	if len(c.g.Ignored()) != 5000-61 {
		t.Errorf("%d networks are ignored", len(c.g.Ignored()))
	}
}

// TestNetworksAreShared: one Service with thousands of external IPs takes none from another namespace's.
func TestNetworksAreShared(t *testing.T) {
	many := func(s *model.Service) {
		for i := range 5000 {
			s.External = append(s.External, netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), 4}))
		}
	}
	own := func(s *model.Service) {
		s.External = []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("198.51.100.7")}
	}
	c := newCluster(t, namespaceEvent("shop", true), podEvent("shop", "web", "10.0.0.5"),
		serviceEvent("shop", "web", "10.9.0.1", own), sliceEvent("shop", "web", "10.0.0.5 web"),
		namespaceEvent("aaa", false), serviceEvent("aaa", "x", "10.9.0.2", many), sliceEvent("aaa", "x", "10.0.0.5"))
	got := c.networksOnDemand()
	if d := cmp.Diff([]string{"198.51.100.0/24", "203.0.113.0/24"}, got[62:]); d != "" || len(got) != maxNetworks {
		t.Errorf("%d networks, of them other than the large Service's: %s", len(got), d)
	}
}

// TestWorkOfNodePorts: all addresses at which a Service port is dialled share its endpoints. One endpoint
// more costs each of them no more than a look, and no resource.
func TestWorkOfNodePorts(t *testing.T) {
	const pods, nodes = 1000, 200
	events := []source.Event{namespaceEvent("shop", true)}
	var endpoints []string
	for i := range pods {
		ip := fmt.Sprintf("10.0.%d.%d", i/250, i%250+1)
		events = append(events, podEvent("shop", fmt.Sprint("web", i), ip, func(w *model.Workload) {
			w.ServiceAccount, w.Node = "web", fmt.Sprint("n", i%nodes)
			w.NodeAddresses = []netip.Addr{netip.AddrFrom4([4]byte{192, 168, 1, byte(i%nodes + 1)})}
		}))
		endpoints = append(endpoints, fmt.Sprintf("%s web%d@n%d", ip, i, i%nodes))
	}
	local := func(s *model.Service) { s.Ports[0].NodePort, s.LocalNodePorts = 30081, true }
	c := newCluster(t, append(events, serviceEvent("shop", "web", "10.9.0.1"), sliceEvent("shop", "web", endpoints...),
		serviceEvent("shop", "local", "10.9.0.2", local), sliceEvent("shop", "local", endpoints...))...)
	for i := range nodes {
		c.dial(fmt.Sprintf("192.168.1.%d:30080", i+1), fmt.Sprintf("192.168.1.%d:30081", i+1))
	}
	change := func(service string) (resources int) {
		r := c.g.Apply([]source.Event{sliceEvent("shop", service, endpoints[1:]...)}, Inputs{})
		for _, ch := range r.Resources {
			if names.IsDestination(ch.Resource.Name) {
				resources++
			}
		}
		c.take(r)
		return resources
	}
	if n := change("web"); n != 0 {
		t.Errorf("an endpoint less changes %d resources of destinations", n)
	}
	if n := change("local"); n != 1 {
		t.Errorf("an endpoint less changes %d resources of destinations on nodes, want its node's", n)
	}
	if got, want := c.at("192.168.1.7:30081"), "mesh shop/local:80 10.0.0.7:8080 10.0.0.207:8080 10.0.1.157:8080 10.0.2.107:8080 10.0.3.57:8080"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestDestinationsInAll: there are no more destinations than the bound, and room is for others.
func TestDestinationsInAll(t *testing.T) {
	c := newCluster(t)
	dial := func(first, n int, ask bool) int {
		in := Inputs{Dialled: map[netip.AddrPort]bool{}}
		for i := range n {
			i += first
			in.Dialled[netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80)] = ask
		}
		c.g.Apply(nil, in)
		return c.g.destinations.clusters.Len()
	}
	if n := dial(0, maxOthers-10, true); n != maxOthers-10 {
		t.Fatalf("%d destinations", n)
	}
	dial(0, 1000, true) // not counted twice
	if n := dial(maxOthers, 100, true); n != maxOthers {
		t.Errorf("%d destinations, want %d", n, maxOthers)
	}
	dial(0, 20, false)
	if n := dial(2*maxOthers, 15, true); n != maxOthers {
		t.Errorf("%d destinations, want %d: those that were left out come", n, maxOthers)
	}
	dial(maxOthers, 100, false)
	if n := dial(3*maxOthers, 10, true); n != maxOthers-5 {
		t.Errorf("%d destinations, want %d", n, maxOthers-5)
	}
}
