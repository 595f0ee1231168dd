// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/controlplane/model"
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
