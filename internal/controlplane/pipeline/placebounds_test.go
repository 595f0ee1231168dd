// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"net/netip"
	"testing"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

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
