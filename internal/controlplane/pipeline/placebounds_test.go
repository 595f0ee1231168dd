// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// placedService is a Service whose endpoints each have a node of their own: with internalTrafficPolicy Local, or else as hint.
func placedService(name string, ports, endpoints int, local bool) []source.Event {
	k := model.Key{Namespace: "tenant", Name: name}
	svc := model.Service{Key: k, LocalTraffic: local, VIPs: []netip.Addr{netip.MustParseAddr("11.0.0.1")}}
	s := model.Slice{Key: k, Service: k}
	for i := range ports {
		port := fmt.Sprintf("p%d", i)
		svc.Ports = append(svc.Ports, model.ServicePort{Name: port, Port: uint16(1 + i), Protocol: model.TCP})
		s.Ports = append(s.Ports, model.SlicePort{Name: port, Port: uint16(1 + i)})
	}
	for i := range endpoints {
		e := model.SliceEndpoint{Addr: netip.AddrFrom4([4]byte{10, 99, byte(i >> 8), byte(i)}), Node: fmt.Sprintf("node-%03d", i), Ready: true, Serving: true}
		if !local {
			e.Hints = &model.Hints{Nodes: []string{e.Node}}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return []source.Event{{Kind: source.Service, Key: k, Object: svc}, {Kind: source.EndpointSlice, Key: k, Object: s}}
}

// spokenTo are a route of each kind that sends to all ports of a Service, and a policy of TLS for it.
func spokenTo(name string, ports int) []source.Event {
	var t tenant
	k := model.Key{Namespace: "tenant", Name: name}
	http := &gwapiv1.HTTPRoute{ObjectMeta: t.meta(k, 1), Spec: gwapiv1.HTTPRouteSpec{Rules: []gwapiv1.HTTPRouteRule{{}}}}
	grpc := &gwapiv1.GRPCRoute{ObjectMeta: t.meta(k, 1), Spec: gwapiv1.GRPCRouteSpec{Rules: []gwapiv1.GRPCRouteRule{{}}}}
	tcp := &gwapiv1.TCPRoute{ObjectMeta: t.meta(k, 1), Spec: gwapiv1.TCPRouteSpec{Rules: []gwapiv1.TCPRouteRule{{}}}}
	for i := range ports {
		port := gwapiv1.PortNumber(1 + i)
		b := gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Name: gwapiv1.ObjectName(name), Port: &port}}
		http.Spec.Rules[0].BackendRefs = append(http.Spec.Rules[0].BackendRefs, gwapiv1.HTTPBackendRef{BackendRef: b})
		grpc.Spec.Rules[0].BackendRefs = append(grpc.Spec.Rules[0].BackendRefs, gwapiv1.GRPCBackendRef{BackendRef: b})
		tcp.Spec.Rules[0].BackendRefs = append(tcp.Spec.Rules[0].BackendRefs, b)
	}
	policy := t.policy(0, 1, "")
	policy.Key.Name = name
	o := policy.Object.(*gwapiv1.BackendTLSPolicy)
	o.Name, o.Spec.TargetRefs[0].Name = name, gwapiv1.ObjectName(name)
	return []source.Event{
		{Kind: "HTTPRoute", Key: k, Object: http}, {Kind: "GRPCRoute", Key: k, Object: grpc}, {Kind: "TCPRoute", Key: k, Object: tcp}, policy,
	}
}

// counted are the variants that are published for places.
type counted struct {
	byKey map[xds.Key]int
	n     int
}

// take counts what a result publishes.
func (c *counted) take(r Result) {
	for _, x := range r.Resources {
		if delete(c.byKey, x.Resource.Key); !x.Remove {
			c.byKey[x.Resource.Key] = len(x.Resource.Variants)
		}
	}
	c.n = 0
	for _, n := range c.byKey {
		c.n += n
	}
}

// TestPublishedPlaces: what is published for places of endpoints is bounded for each Service and for a namespace, in
// however many ways the Services' ports are spoken to.
func TestPublishedPlaces(t *testing.T) {
	const services, ports = 5, 256
	for _, local := range []bool{true, false} {
		endpoints := 195
		if !local {
			endpoints = 39 // with more hints do not count
		}
		g := meshOf(t, 1)
		c := counted{byKey: map[xds.Key]int{}}
		all := make([]source.Event, 0, 6*services)
		for i := range services {
			name := fmt.Sprintf("web-%d", i)
			all = append(all, placedService(name, ports, endpoints, local)...)
			all = append(all, spokenTo(name, ports)...)
		}
		got := measure(t, g, "first", all[:6]...)
		if most := 48 * mebi; local && got.live > most {
			t.Errorf("one Service takes %d MiB", got.live/mebi)
		}
		fewer := placedService("web-0", ports, endpoints-1, local)[1]
		if got, most := measure(t, g, "an endpoint less", fewer), 400*mebi; got.allocated > most {
			t.Errorf("a change of one endpoint allocates %d MiB", got.allocated/mebi)
		}
		g = meshOf(t, 1)
		c.take(g.Apply(all, Inputs{}))
		if most := model.NamespacePairs * 9 / 20; c.n > most || c.n < most*9/10 {
			t.Errorf("local %v: %d variants are published for %d Services, want at most %d", local, c.n, services, most)
		}
		// Those that fit are of the first ports. Clients of the others use no endpoint of another node.
		has := func(port int) int {
			e, ok := g.services.endpoints.Value(fmt.Sprintf("out/tenant/web-0/%d/node/*", port))
			if !ok || len(e.List) > 0 {
				t.Errorf("port %d has %v, %d endpoints for all clients", port, ok, len(e.List))
			}
			return len(e.Near)
		}
		if local && (has(17) != endpoints || has(ports) != 0) {
			t.Errorf("the first port without variants has %d places, the last %d", has(17), has(ports))
		}
		if e, _ := g.services.endpoints.Value("out/tenant/web-0/256/as/bytes"); !local && (len(e.List) != endpoints || len(e.Near) > 0) {
			t.Errorf("clients of the last port use %d endpoints for bytes, and there are %d places", len(e.List), len(e.Near))
		}
	}
}

// TestPlacesOfUsualServices: with internalTrafficPolicy Local all ports are served on 40 nodes, and a port beyond those
// with variants on 1,000, also if it is spoken to in two ways. Routes of another namespace change nothing of this.
func TestPlacesOfUsualServices(t *testing.T) {
	for _, c := range []struct{ ports, endpoints, ways int }{{ports: 256, endpoints: 40, ways: 1}, {ports: 17, endpoints: 1000, ways: 2}} {
		g := meshOf(t, 1)
		events := placedService("web", c.ports, c.endpoints, true)
		if c.ways == 2 {
			events = append(events, spokenTo("web", c.ports)[2])
		}
		ns := gwapiv1.Namespace("tenant")
		for _, e := range spokenTo("web", c.ports)[:3] {
			e.Key.Namespace = "other"
			switch o := e.Object.(type) {
			case *gwapiv1.HTTPRoute:
				o.Namespace = "other"
				for i := range o.Spec.Rules[0].BackendRefs {
					o.Spec.Rules[0].BackendRefs[i].Namespace = &ns
				}
			case *gwapiv1.GRPCRoute:
				o.Namespace = "other"
				for i := range o.Spec.Rules[0].BackendRefs {
					o.Spec.Rules[0].BackendRefs[i].Namespace = &ns
				}
			case *gwapiv1.TCPRoute:
				o.Namespace = "other"
				for i := range o.Spec.Rules[0].BackendRefs {
					o.Spec.Rules[0].BackendRefs[i].Namespace = &ns
				}
			}
			events = append(events, e)
		}
		g.Apply(events, Inputs{})
		o := names.Out{Namespace: "tenant", Service: "web", Port: uint16(c.ports), Node: names.OwnNode}
		for _, as := range []string{"", names.AsBytes}[:c.ways] {
			o.As = as
			if e, _ := g.services.endpoints.Value(o.String()); len(e.Near) != c.endpoints {
				t.Errorf("%v has %d places, want %d", o, len(e.Near), c.endpoints)
			}
		}
	}
}

// portsService is a Service of so many ports with a meshed pod behind them.
func portsService(namespace string, n, ports int) source.Event {
	k := model.Key{Namespace: namespace, Name: fmt.Sprintf("svc-%03d", n)}
	svc := model.Service{Key: k, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{11, 0, byte(n >> 8), byte(n)})}}
	for i := range ports {
		svc.Ports = append(svc.Ports, model.ServicePort{Port: uint16(1 + i), Protocol: model.TCP})
	}
	return source.Event{Kind: source.Service, Key: k, Object: svc}
}

// TestPortsOfANamespace: the Services of a namespace have no more listeners together than a namespace may have, however
// many ports they have. Small Services, other namespaces and namespaces below the bound are not concerned, and a change of
// one Service does not evaluate the others while the share is the same.
func TestPortsOfANamespace(t *testing.T) {
	g := meshOf(t, 1)
	listeners := func(namespace string) (n int) {
		for range g.services.frontendsByNamespace.Bucket(namespace) {
			n++
		}
		return n
	}
	g.Apply([]source.Event{namespaceEvent("other", true), portsService("other", 0, 256), portsService("tenant", 900, 16)}, Inputs{})
	for n := range 7 { // 7 × 256 ports are below the bound
		g.Apply([]source.Event{portsService("tenant", n, 256)}, Inputs{})
		if got := g.Evals()["served services"]; got != 1 {
			t.Errorf("Service %d: %d are evaluated", n, got)
		}
	}
	if got := listeners("tenant"); got != 7*256+16 {
		t.Fatalf("below the bound there are %d listeners", got)
	}
	var events []source.Event
	for n := 7; n < 40; n++ {
		events = append(events, portsService("tenant", n, 256))
	}
	g.Apply(events, Inputs{})
	if got := listeners("tenant"); got > model.NamespacePorts+16 || got < model.NamespacePorts/2 {
		t.Errorf("40 Services have %d listeners", got)
	}
	if got := listeners("other"); got != 256 {
		t.Errorf("the other namespace has %d listeners", got)
	}
	for _, name := range []string{"out/tenant/svc-000/1", "out/tenant/svc-039/32", "out/tenant/svc-900/16"} {
		if _, ok := g.services.frontends.Value(name); !ok {
			t.Errorf("%s has no listener", name)
		}
	}
	svc, _ := g.in.services.Value(model.Key{Namespace: "tenant", Name: "svc-003"})
	// The rest are ports without a listener: what connects to them is carried to the original destination.
	if svc.MorePorts != 256-32 || len(svc.Ports) != 32 {
		t.Errorf("%d ports are served, and there are %d more", len(svc.Ports), svc.MorePorts)
	}
	if s := gatewayapi.PortList(svc); !strings.HasSuffix(s, "and 224 TCP ports beyond the first 32 of spec.ports, which cannot be used in routes; the larger Services of a namespace may have 2000 ports together, so remove ports that are not needed or move Services to another namespace") {
		t.Errorf("ports in conditions: %s", s)
	}
	if !g.isKnown(netip.MustParseAddr("11.0.0.3")) {
		t.Error("an address of ports without a listener can't be asked for")
	}
	// One more Service of the same share, and a change of one, evaluate that one.
	g.Apply([]source.Event{portsService("tenant", 40, 256)}, Inputs{})
	if got := g.Evals()["served services"]; got != 1 {
		t.Errorf("with one more Service %d are evaluated", got)
	}
	g.Apply([]source.Event{portsService("tenant", 40, 255)}, Inputs{})
	if got := g.Evals()["served services"]; got != 1 {
		t.Errorf("with one that changes %d are evaluated", got)
	}
	// And when they are deleted the others have their listeners again, as if these had never existed.
	var deleted []source.Event
	for n := 7; n <= 40; n++ {
		deleted = append(deleted, gone(portsService("tenant", n, 256)))
	}
	slices.Reverse(deleted)
	g.Apply(deleted, Inputs{})
	if got := listeners("tenant"); got != 7*256+16 {
		t.Errorf("after they went there are %d listeners", got)
	}
}
