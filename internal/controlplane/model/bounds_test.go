// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestTooManyEndpoints: of more endpoints than are used, those that are ready come first, then those that terminate and
// still serve, by address; how they are divided into slices does not matter.
func TestTooManyEndpoints(t *testing.T) {
	svc := Service{Key: Key{"shop", "web"}}
	for i := range 256 {
		svc.Ports = append(svc.Ports, ServicePort{Port: uint16(1 + i), Protocol: TCP})
	}
	const used = MaxPairs / 256
	parts := []Slice{{Key: Key{"shop", "a"}}, {Key: Key{"shop", "b"}}}
	for i := range parts {
		parts[i].Ports = []SlicePort{{Port: 80}}
	}
	add := func(n, block int, e SliceEndpoint) {
		for i := range n {
			e.Addr = netip.AddrFrom4([4]byte{10, byte(block), byte(i >> 8), byte(i)})
			parts[i%2].Endpoints = append(parts[i%2].Endpoints, e)
		}
	}
	add(100, 0, SliceEndpoint{})
	add(100, 1, SliceEndpoint{Serving: true, Terminating: true})
	add(used-50, 2, SliceEndpoint{Ready: true, Serving: true})
	for _, parts := range [][]Slice{parts, {parts[1], parts[0]}} {
		got := Resolve(svc, parts, MaxPairs, pods(), nobody, nil)
		if len(got.Ports) != 256 {
			t.Fatalf("%d ports", len(got.Ports))
		}
		for _, p := range got.Ports {
			if len(p.Endpoints) != used-50 {
				t.Fatalf("port %d has %d endpoints, want the %d that are ready", p.Port.Port, len(p.Endpoints), used-50)
			}
		}
	}
	add(1000, 3, SliceEndpoint{Ready: true, Serving: true})
	got := Resolve(svc, parts, MaxPairs, pods(), nobody, nil).Ports[7].Endpoints
	if len(got) != used || got[used-51].Addr.Addr().As4()[1] != 2 || got[used-1].Addr.Addr() != addr("10.3.0.49") {
		t.Errorf("%d endpoints up to %v, want %d", len(got), got[len(got)-1], used)
	}
	if svc.Ports = svc.Ports[:1]; len(Resolve(svc, parts, MaxPairs, pods(), nobody, nil).Ports[0].Endpoints) != used-50+1000 {
		t.Error("a Service of one port does not use all")
	}
}

// TestTooManyHints: where endpoints have more hints than the EndpointSlice controller writes, so that the lists of places
// are many times the endpoints, all clients use all of them.
func TestTooManyHints(t *testing.T) {
	svc := Service{Key: Key{"shop", "web"}}
	for i := range 256 {
		svc.Ports = append(svc.Ports, ServicePort{Port: uint16(1 + i), Protocol: TCP})
	}
	for hints, count := range map[int]bool{1: true, 8: false} {
		h := &Hints{}
		for i := range hints {
			h.Zones, h.Nodes = append(h.Zones, string(rune('a'+i))), append(h.Nodes, string(rune('a'+i)))
		}
		s := Slice{Ports: []SlicePort{{Port: 80}}}
		for i := range 1000 {
			s.Endpoints = append(s.Endpoints, SliceEndpoint{Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Ready: true, Serving: true, Hints: h})
		}
		s.Endpoints[0].Hints = &Hints{Zones: []string{"z"}, Nodes: h.Nodes}
		e := Resolve(svc, []Slice{s}, MaxPairs, pods(), nobody, nil).Ports[0].On(svc.Key, "")
		if len(e.List) != MaxPairs/256 || len(e.Near) > 0 != count {
			t.Errorf("with %d hints of each kind: %d endpoints, %d places", hints, len(e.List), len(e.Near))
		}
	}
}

// TestTooManyPlaces: each place that hints name has a variant of each port's endpoints, so where they are more than the
// Service's share allows, hints do not count. Those that the EndpointSlice controller writes do.
func TestTooManyPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		ports, endpoints, pairs int
		count                   bool
	}{
		"a zone each, 256 ports":                {256, 195, MaxPairs, false},
		"a zone each, 256 ports, few endpoints": {256, 3, SmallPairs, true},
		"a zone each, one port":                 {1, 1000, SmallPairs, true},
		"a zone each, ten ports":                {10, 1000, MaxPairs, true},
		"the same beside other large Services":  {10, 1000, 10_000, false},
	} {
		svc := Service{Key: Key{"shop", "web"}}
		for i := range c.ports {
			svc.Ports = append(svc.Ports, ServicePort{Port: uint16(1 + i), Protocol: TCP})
		}
		s := Slice{Ports: []SlicePort{{Port: 80}}}
		for i := range c.endpoints {
			s.Endpoints = append(s.Endpoints, SliceEndpoint{
				Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Ready: true, Serving: true, Hints: &Hints{Zones: []string{fmt.Sprint("zone-", i)}},
			})
		}
		e := Resolve(svc, []Slice{s}, c.pairs, pods(), nobody, nil).Ports[0].On(svc.Key, "")
		if len(e.List) == 0 || len(e.Near) > 0 != c.count {
			t.Errorf("%s: %d endpoints, %d places", name, len(e.List), len(e.Near))
		}
	}
}

// TestPortsOf: Services within the bound together have all their ports, and otherwise shares within it.
func TestPortsOf(t *testing.T) {
	for _, c := range []struct {
		ports []int
		want  int
	}{
		{nil, MaxPorts},
		{slices.Repeat([]int{256}, 7), 256},
		{append(slices.Repeat([]int{17}, 100), 256), 256},
		{slices.Repeat([]int{256}, 8), 128},
		{slices.Repeat([]int{256}, 40), 32},
		{slices.Repeat([]int{40}, 50), 256},
		{slices.Repeat([]int{256}, 1000), SmallPorts},
	} {
		if got := PortsOf(c.ports); got != c.want {
			t.Errorf("%d Services: %d ports, want %d", len(c.ports), got, c.want)
		}
	}
	svc := Service{MorePorts: 1, Ports: []ServicePort{{Port: 1, Protocol: TCP}, {Port: 2, Protocol: UDP}, {Port: 3, Protocol: HTTP}, {Port: 4, Protocol: UDP}}}
	want := Service{MorePorts: 2, Ports: []ServicePort{{Port: 1, Protocol: TCP}, {Port: 2, Protocol: UDP}, {Port: 4, Protocol: UDP}}}
	if d := cmp.Diff(want, svc.First(1)); d != "" || len(svc.Ports) != 4 || svc.Ports[2].Port != 3 {
		t.Errorf("the first port: %s, of %v", d, svc.Ports)
	}
	if d := cmp.Diff(svc, svc.First(2)); d != "" {
		t.Errorf("all ports: %s", d)
	}
}

// TestByNode: the endpoints of each node are what On returns for it, and Near of the endpoints of clients' own nodes.
func TestByNode(t *testing.T) {
	at := func(ip, node string) ResolvedEndpoint {
		return ResolvedEndpoint{Addr: netip.AddrPortFrom(addr(ip), 80), Node: node}
	}
	ready := []ResolvedEndpoint{at("10.0.0.1", "a"), at("10.0.0.2", "b"), at("10.0.0.3", "b"), at("10.0.0.9", "")}
	ending := []ResolvedEndpoint{at("10.0.0.4", "b"), at("10.0.0.5", "c")}
	k := Key{"shop", "web"}
	for name, p := range map[string]ResolvedPort{
		"ready ones and others": {Endpoints: ready, Ending: ending},
		"none ready":            {Endpoints: ending, Ending: ending},
		"none":                  {},
	} {
		byNode, own := p.ByNode(), p.On(k, "*")
		if len(own.List) != 0 || len(own.Near) != len(byNode) {
			t.Errorf("%s: %+v, of %v", name, own, byNode)
		}
		for i, node := range []string{"a", "b", "c", "d"} {
			want := p.On(k, node).List
			if d := cmp.Diff(want, byNode[node], cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
				t.Errorf("%s, node %s: %s", name, node, d)
			}
			if name == "ready ones and others" && i < 3 && (own.Near[i].Place != Place{Node: node} || len(own.Near[i].List) != len(want)) {
				t.Errorf("%s: %+v", name, own.Near[i])
			}
		}
	}
}
