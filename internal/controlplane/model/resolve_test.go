// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

func pods(ws ...Workload) func(Key) (Workload, bool) {
	return func(k Key) (Workload, bool) {
		for _, w := range ws {
			if w.Key == k {
				return w, true
			}
		}
		return Workload{}, false
	}
}

func nobody(netip.Addr) (Workload, bool) { return Workload{}, false }

// at finds pods by address, as the control plane does: those with a sidecar.
func at(ws ...Workload) func(netip.Addr) (Workload, bool) {
	return func(a netip.Addr) (Workload, bool) {
		for _, w := range ws {
			if slices.Contains(w.Addresses, a) {
				return w, true
			}
		}
		return Workload{}, false
	}
}

func meshedPod(name, sa, ip string, excluded ...uint16) Workload {
	return Workload{Key: Key{"shop", name}, ServiceAccount: sa, Addresses: []netip.Addr{addr(ip)}, Kind: "sidecar", ExcludedInboundPorts: excluded}
}

// TestResolve has one case for each rule of Resolve.
func TestResolve(t *testing.T) {
	svc := Service{Key: Key{"shop", "web"}, Ports: []ServicePort{{Name: "http", Port: 80, Protocol: HTTP}, {Name: "dns", Port: 53, Protocol: UDP}}}
	end := func(ip, pod string, ready, serving, terminating bool) SliceEndpoint {
		e := SliceEndpoint{Addr: addr(ip), Node: "n1", Ready: ready, Serving: serving, Terminating: terminating}
		if pod != "" {
			e.Pod = Key{"shop", pod}
		}
		return e
	}
	slice := func(es ...SliceEndpoint) Slice {
		return Slice{Service: svc.Key, Ports: []SlicePort{{Name: "http", Port: 8080}, {Name: "other", Port: 9}}, Endpoints: es}
	}
	for name, c := range map[string]struct {
		slices    []Slice
		pods      []Workload
		transport Transport
		want      []string
		meshed    []bool
		accounts  []Key
	}{
		"nothing yet is the mesh's": {transport: MeshOnly},
		"ready ones over two slices, sorted": {
			slices:    []Slice{slice(end("10.0.0.2", "b", true, true, false)), slice(end("10.0.0.1", "a", true, true, false))},
			pods:      []Workload{meshedPod("a", "web", "10.0.0.1"), meshedPod("b", "web2", "10.0.0.2")},
			transport: MeshOnly, want: []string{"10.0.0.1:8080", "10.0.0.2:8080"}, meshed: []bool{true, true},
			accounts: []Key{{"shop", "web"}, {"shop", "web2"}},
		},
		"not ready: no endpoint, but its identity is known": {
			slices: []Slice{slice(end("10.0.0.1", "a", false, false, false))}, pods: []Workload{meshedPod("a", "web", "10.0.0.1")},
			transport: MeshOnly, accounts: []Key{{"shop", "web"}},
		},
		"terminating ones only where none is ready": {
			slices: []Slice{slice(end("10.0.0.1", "a", false, true, true))}, pods: []Workload{meshedPod("a", "web", "10.0.0.1")},
			transport: MeshOnly, want: []string{"10.0.0.1:8080"}, meshed: []bool{true}, accounts: []Key{{"shop", "web"}},
		},
		"a ready one beats a terminating one": {
			slices:    []Slice{slice(end("10.0.0.1", "", false, true, true), end("10.0.0.2", "", true, true, false))},
			transport: Plain, want: []string{"10.0.0.2:8080"}, meshed: []bool{false},
		},
		"an unknown pod is left out":              {slices: []Slice{slice(end("10.0.0.1", "a", true, true, false))}, transport: MeshOnly},
		"an address that is another pod's by now": {slices: []Slice{slice(end("10.0.0.1", "a", true, true, false))}, pods: []Workload{meshedPod("a", "web", "10.0.0.9")}, transport: MeshOnly},
		"an excluded port is plain": {
			slices: []Slice{slice(end("10.0.0.1", "a", true, true, false))}, pods: []Workload{meshedPod("a", "web", "10.0.0.1", 8080)},
			transport: Plain, want: []string{"10.0.0.1:8080"}, meshed: []bool{false},
		},
		"a gateway's own listeners are no mesh endpoints": {
			slices:    []Slice{slice(end("10.0.0.1", "a", true, true, false))},
			pods:      []Workload{{Key: Key{"shop", "a"}, Kind: "gateway", Gateway: "front", ServiceAccount: "front-tulle", Addresses: []netip.Addr{addr("10.0.0.1")}}},
			transport: Plain, want: []string{"10.0.0.1:8080"}, meshed: []bool{false},
		},
		"with and without proxy": {
			slices: []Slice{slice(end("10.0.0.1", "a", true, true, false), end("10.0.0.2", "", true, true, false))}, pods: []Workload{meshedPod("a", "web", "10.0.0.1")},
			transport: Mixed, want: []string{"10.0.0.1:8080", "10.0.0.2:8080"}, meshed: []bool{true, false}, accounts: []Key{{"shop", "web"}},
		},
		"the same address twice counts once": {
			slices:    []Slice{slice(end("10.0.0.1", "", true, true, false)), slice(end("10.0.0.1", "", true, true, false))},
			transport: Plain, want: []string{"10.0.0.1:8080"}, meshed: []bool{false},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := Resolve(svc, c.slices, MaxPairs, pods(c.pods...), nobody, nil)
			if len(got.Ports) != 1 {
				t.Fatalf("%d ports, want the TCP one", len(got.Ports))
			}
			p := got.Ports[0]
			if p.Transport != c.transport {
				t.Errorf("transport %q, want %q", p.Transport, c.transport)
			}
			var addrs []string
			var meshed []bool
			for _, e := range p.Endpoints {
				addrs, meshed = append(addrs, e.Addr.String()), append(meshed, e.Meshed)
			}
			if d := cmp.Diff(c.want, addrs); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.meshed, meshed); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(c.accounts, got.Accounts, cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestProtocolOf: appProtocol wins, then well-known server-first ports, then the name.
func TestProtocolOf(t *testing.T) {
	for _, c := range []struct {
		app, name string
		port      uint16
		want      Protocol
		declared  bool
	}{
		{"", "", 80, TCP, false},
		{"", "http", 80, HTTP, true},
		{"", "http-admin", 80, HTTP, true},
		{"", "httpish", 80, TCP, false},
		{"", "grpc", 80, GRPC, true},
		{"", "grpc-api", 80, GRPC, true},
		{"", "grpc-webhook", 80, GRPC, true},
		{"", "grpc-web", 80, HTTP, true},
		{"", "grpc-web-text", 80, HTTP, true},
		{"", "GRPC-Web-Public", 80, HTTP, true},
		{"", "grpc-gateway", 80, HTTP, true},
		{"", "http-grpc", 80, HTTP, true},
		{"", "http2-admin", 80, HTTP2, true},
		{"", "h2c-http", 80, HTTP2, true},
		{"", "https-web", 80, TCP, true},
		{"", "tls-grpc", 80, TCP, true},
		{"", "tcp-http", 80, TCP, true},
		{"", "grpcs", 80, TCP, false},
		{"", "web-http", 80, TCP, false},
		{"", "-", 80, TCP, false},
		{"grpc-web", "grpc", 80, HTTP, true},
		{"", "http2", 80, HTTP2, true},
		{"", "http", 3306, TCP, true},
		{"http", "", 3306, HTTP, true},
		{"kubernetes.io/h2c", "http", 80, HTTP2, true},
		{"kubernetes.io/ws", "", 80, HTTP, true},
		{"https", "http", 443, TCP, true},
		{"GRPC", "", 1, GRPC, true},
	} {
		if p, d := ProtocolOf(c.app, c.name, c.port); p != c.want || d != c.declared {
			t.Errorf("%+v: %v, %v", c, p, d)
		}
	}
}

// TestHash: equal values have equal hashes, others not, and the revision counts.
func TestHash(t *testing.T) {
	a := Endpoints{Key: PortKey{Key{"a", "b"}, 1}, List: []Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.1:1")}}}
	b := Endpoints{Key: PortKey{Key{"a", "b"}, 1}, List: []Endpoint{{Addr: netip.MustParseAddrPort("10.0.0.1:1")}}}
	if Hash("1", a) != Hash("1", b) || len(Hash("1", a)) != 16 {
		t.Error("equal values differ")
	}
	b.List[0].Meshed = true
	if Hash("1", a) == Hash("1", b) || Hash("1", a) == Hash("2", a) {
		t.Error("different values are the same")
	}
}

// TestResolveUDP: ports for UDP stand apart, their endpoints are those of the slices for UDP, and none is
// meshed, since no proxy takes datagrams.
func TestResolveUDP(t *testing.T) {
	svc := Service{Key: Key{"shop", "dns"}, Ports: []ServicePort{{Port: 53, Protocol: UDP, Declared: true}, {Name: "tcp", Port: 53, Protocol: TCP}}}
	end := SliceEndpoint{Addr: addr("10.0.0.1"), Pod: Key{"shop", "a"}, Ready: true, Serving: true}
	got := Resolve(svc, []Slice{
		{Service: svc.Key, Ports: []SlicePort{{Port: 5353, UDP: true}, {Name: "tcp", Port: 5354}}, Endpoints: []SliceEndpoint{end}},
		{Service: svc.Key, Ports: []SlicePort{{Port: 9}}, Endpoints: []SliceEndpoint{end}},
	}, MaxPairs, pods(meshedPod("a", "web", "10.0.0.1")), nobody, nil)
	want := []ResolvedPort{{Port: svc.Ports[0], Transport: Plain, Endpoints: []ResolvedEndpoint{{Addr: netip.MustParseAddrPort("10.0.0.1:5353"), Pod: Key{"shop", "a"}}}}}
	if d := cmp.Diff(want, got.UDP, cmpopts.EquateComparable(netip.AddrPort{})); d != "" {
		t.Error(d)
	}
	if len(got.Ports) != 1 || !got.Ports[0].Endpoints[0].Meshed || got.Ports[0].Endpoints[0].Addr.Port() != 5354 {
		t.Errorf("TCP: %+v", got.Ports)
	}
}

// TestStreams: the backends of a table, or of one route in it, each once and without invalid ones.
func TestStreams(t *testing.T) {
	a, b := PortKey{Key{"shop", "a"}, 80}, PortKey{Key{"shop", "b"}, 80}
	one, two := Object{"TLSRoute", "shop", "one"}, Object{"TLSRoute", "shop", "two"}
	table := StreamTable{Streams: []Stream{
		{Source: one, Backends: []WeightedBackend{{Backend: b, Weight: 1}, {Backend: a, As: "bytes", Weight: 1}, {Weight: 1, Invalid: true}}},
		{Source: two, Backends: []WeightedBackend{{Backend: b, Weight: 2}}},
	}}
	if d := cmp.Diff([]BackendName{{Key: a, As: "bytes"}, {Key: b}}, table.Backends(Object{})); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]BackendName{{Key: b}}, table.Backends(two)); d != "" {
		t.Error(d)
	}
	if got := table.From(one); len(got) != 1 || got[0].Source != one {
		t.Errorf("from one route: %+v", got)
	}
}

// TestMembers: a meshed pod belongs to a port from its first appearance to its last, usable or not.
func TestMembers(t *testing.T) {
	svc := Service{Key: Key{"shop", "web"}, Ports: []ServicePort{{Name: "http", Port: 80, Protocol: HTTP}}}
	slice := Slice{Service: svc.Key, Ports: []SlicePort{{Name: "http", Port: 8080}}, Endpoints: []SliceEndpoint{
		{Addr: addr("10.0.0.4"), Pod: Key{"shop", "gone"}, Terminating: true},
		{Addr: addr("10.0.0.1"), Pod: Key{"shop", "starting"}},
		{Addr: addr("10.0.0.3"), Pod: Key{"shop", "ending"}, Serving: true, Terminating: true},
		{Addr: addr("10.0.0.2"), Pod: Key{"shop", "ready"}, Ready: true, Serving: true},
		{Addr: addr("10.0.0.9"), Pod: Key{"shop", "unknown"}, Ready: true},
		{Addr: addr("10.0.0.8"), Ready: true},
	}}
	got := Resolve(svc, []Slice{slice, slice}, MaxPairs, pods(
		meshedPod("gone", "web", "10.0.0.4"), meshedPod("starting", "web", "10.0.0.1"),
		meshedPod("ending", "web", "10.0.0.3"), meshedPod("ready", "web", "10.0.0.2"),
	), nobody, nil).Ports[0]
	var members []string
	for _, e := range got.Members {
		members = append(members, e.Pod.Name)
	}
	if d := cmp.Diff([]string{"starting", "ready", "ending", "gone"}, members); d != "" {
		t.Error(d)
	}
	if len(got.Endpoints) != 2 {
		t.Errorf("%d endpoints are usable, want the two that are ready", len(got.Endpoints))
	}
}

// TestResolveByAddress: an endpoint that names no pod of its own namespace is the meshed pod that has its
// address, and otherwise an address without a proxy.
func TestResolveByAddress(t *testing.T) {
	svc := Service{Key: Key{"other", "db"}, Ports: []ServicePort{{Port: 80, Protocol: HTTP}}}
	pod := meshedPod("a", "web", "10.0.0.1", 9)
	resolve := func(port uint16, e SliceEndpoint) Resolved {
		e.Ready, e.Serving = true, true
		return Resolve(svc, []Slice{{Service: svc.Key, Ports: []SlicePort{{Port: port}}, Endpoints: []SliceEndpoint{e}}}, MaxPairs, pods(pod), at(pod), nil)
	}
	for name, e := range map[string]SliceEndpoint{
		"by hand":                             {Addr: addr("10.0.0.1")},
		"a pod of another namespace":          {Addr: addr("10.0.0.1"), Pod: Key{"shop", "a"}},
		"another pod than the address's":      {Addr: addr("10.0.0.1"), Pod: Key{"shop", "b"}},
		"a pod of another namespace, unknown": {Addr: addr("10.0.0.1"), Pod: Key{"nowhere", "b"}},
	} {
		got := resolve(8080, e)
		p := got.Ports[0]
		if p.Transport != MeshOnly || len(p.Endpoints) != 1 || !p.Endpoints[0].Meshed || p.Endpoints[0].Pod != pod.Key || len(p.Members) != 1 {
			t.Errorf("%s: %+v", name, p)
		}
		if d := cmp.Diff([]Key{{"shop", "web"}}, got.Accounts); d != "" {
			t.Errorf("%s: accounts: %s", name, d)
		}
	}
	if p := resolve(9, SliceEndpoint{Addr: addr("10.0.0.1")}).Ports[0]; p.Transport != Plain || p.Endpoints[0].Meshed {
		t.Errorf("a port that the proxy does not serve: %+v", p)
	}
	if p := resolve(8080, SliceEndpoint{Addr: addr("10.0.0.2"), Pod: Key{"shop", "a"}}).Ports[0]; p.Transport != Plain || len(p.Endpoints) != 1 {
		t.Errorf("an address that is no meshed pod's: %+v", p)
	}
}
