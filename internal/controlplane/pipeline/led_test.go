// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// body is what a client with these places gets of a resource.
func (c *cluster) body(url, name string, places []model.Place) []byte {
	c.t.Helper()
	r, ok := c.all[xds.Key{TypeURL: url, Name: name}]
	if !ok {
		c.t.Fatalf("%s is not published", name)
	}
	for _, p := range places {
		for _, v := range r.Variants {
			if v.Place == p.String() {
				return v.Body
			}
		}
	}
	return r.Body
}

// uses are the addresses in a list of endpoints, and after them the identities that a client with these places expects
// behind the Service tenant/web.
func (c *cluster) uses(name string, places []model.Place) string {
	c.t.Helper()
	var list endpointv3.ClusterLoadAssignment
	if err := proto.Unmarshal(c.body(envoy.EndpointsType, name, places), &list); err != nil {
		c.t.Fatal(err)
	}
	var out []string
	for _, l := range list.GetEndpoints() {
		for _, e := range l.GetLbEndpoints() {
			a := e.GetEndpoint().GetAddress().GetSocketAddress()
			out = append(out, fmt.Sprintf("%s:%d", a.GetAddress(), a.GetPortValue()))
		}
	}
	slices.Sort(out)
	var secret tlsv3.Secret
	if err := proto.Unmarshal(c.body(envoy.SecretType, names.SAN("tenant", "web"), places), &secret); err != nil {
		c.t.Fatal(err)
	}
	for _, m := range secret.GetValidationContext().GetMatchTypedSubjectAltNames() {
		if id := m.GetMatcher().GetExact(); strings.HasPrefix(id, "spiffe://") {
			out = append(out, strings.TrimPrefix(id, "spiffe://cluster.local/ns/"))
		}
	}
	return strings.Join(out, " ")
}

func backendTo(service string, port gwapiv1.PortNumber) []gwapiv1.BackendRef {
	return []gwapiv1.BackendRef{{BackendObjectReference: gwapiv1.BackendObjectReference{Name: gwapiv1.ObjectName(service), Port: &port}}}
}

func tcpRouteTo(ns, service string, port gwapiv1.PortNumber) source.Event {
	return source.Event{Kind: "TCPRoute", Key: model.Key{Namespace: ns, Name: service}, Object: &gwapiv1.TCPRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: service, UID: "t", Generation: 1},
		Spec:       gwapiv1.TCPRouteSpec{Rules: []gwapiv1.TCPRouteRule{{BackendRefs: backendTo(service, port)}}},
	}}
}

func udpRouteTo(ns, service string, port gwapiv1.PortNumber) source.Event {
	return source.Event{Kind: "UDPRoute", Key: model.Key{Namespace: ns, Name: service}, Object: &gwapiv1.UDPRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: service, UID: "u", Generation: 1},
		Spec:       gwapiv1.UDPRouteSpec{Rules: []gwapiv1.UDPRouteRule{{BackendRefs: backendTo(service, port)}}},
	}}
}

// TestEndpointsOfGateways: what a tenant writes into EndpointSlices leads no Gateway to pods of another namespace, nor to
// a Gateway again, whatever is between. Sidecars use what the slice says, and other endpoints stay. The lists follow
// what the addresses lead to.
func TestEndpointsOfGateways(t *testing.T) {
	parsed := func(ips ...string) (out []netip.Addr) {
		for _, ip := range ips {
			out = append(out, netip.MustParseAddr(ip))
		}
		return out
	}
	outer := func(change func(*model.Service)) func(*model.Service) {
		return func(s *model.Service) {
			s.OuterPorts, s.NodePorts = []uint16{8080}, []uint16{30081}
			change(s)
		}
	}
	gatewayPod := func(w *model.Workload) { w.Kind, w.Gateway = names.KindGateway, "gw" }
	host := func(w *model.Workload) { w.HostNetwork, w.Kind = true, "" }
	onPort := func(port uint16, e source.Event) source.Event {
		s := e.Object.(model.Slice)
		s.Ports[0].Port = port
		e.Object = s
		return e
	}
	gone := func(e source.Event) source.Event { return source.Event{Kind: e.Kind, Key: e.Key} }
	slice := func(endpoint string) source.Event { return sliceEvent("tenant", "web", "10.0.0.1 web", endpoint) }
	port := names.Out{Namespace: "tenant", Service: "web", Port: 80, As: names.AsBytes}
	bytesOf := port.String()
	port.Port, port.As = 53, names.AsDatagrams
	datagrams := port.String()
	own := "10.0.0.1:8080 tenant/sa/web"
	for name, c := range map[string]struct {
		slice            source.Event
		behind           source.Event // what the address leads to
		sidecar, gateway string       // gateway "": as the sidecar
		before           string       // what a Gateway uses without behind; "": the same as a sidecar with it
	}{
		"a pod of another namespace, by name": {slice("10.0.0.2 shop/server"), podEvent("shop", "server", "10.0.0.2"), "10.0.0.1:8080 10.0.0.2:8080 shop/sa/server tenant/sa/web", own, "10.0.0.1:8080 10.0.0.2:8080 tenant/sa/web"},
		"its address":                         {slice("10.0.0.2"), podEvent("shop", "server", "10.0.0.2"), "10.0.0.1:8080 10.0.0.2:8080 shop/sa/server tenant/sa/web", own, "10.0.0.1:8080 10.0.0.2:8080 tenant/sa/web"},
		"its excluded port":                   {slice("10.0.0.2"), podEvent("shop", "server", "10.0.0.2", func(w *model.Workload) { w.ExcludedInboundPorts = []uint16{8080} }), "10.0.0.1:8080 10.0.0.2:8080 tenant/sa/web", own, ""},
		"a pod without a proxy":               {slice("10.0.0.2"), podEvent("shop", "server", "10.0.0.2", func(w *model.Workload) { w.Kind = "" }), "10.0.0.1:8080 10.0.0.2:8080 tenant/sa/web", "", ""},
		"a pod of its own":                    {slice("10.0.0.2 api"), podEvent("tenant", "api", "10.0.0.2"), "10.0.0.1:8080 10.0.0.2:8080 tenant/sa/api tenant/sa/web", "", "10.0.0.1:8080 tenant/sa/web"},
		"its own by address":                  {slice("10.0.0.2"), podEvent("tenant", "api", "10.0.0.2"), "10.0.0.1:8080 10.0.0.2:8080 tenant/sa/api tenant/sa/web", "", "10.0.0.1:8080 10.0.0.2:8080 tenant/sa/web"},
		"outside":                             {slice("203.0.113.7"), podEvent("tenant", "api", "10.0.0.2"), "10.0.0.1:8080 203.0.113.7:8080 tenant/sa/web", "", ""},
		"a Gateway's pod":                     {slice("10.0.0.2"), podEvent("infra", "gw-1", "10.0.0.2", gatewayPod), "10.0.0.1:8080 10.0.0.2:8080 tenant/sa/web", own, ""},
		"its own Gateway's, by name":          {slice("10.0.0.2 gw-1"), podEvent("tenant", "gw-1", "10.0.0.2", gatewayPod), "10.0.0.1:8080 10.0.0.2:8080 tenant/sa/web", "", "10.0.0.1:8080 tenant/sa/web"},
		"a cluster address":                   {slice("10.1.0.9"), serviceEvent("infra", "gw", "10.1.0.9"), "10.0.0.1:8080 10.1.0.9:8080 tenant/sa/web", own, ""},
		"a load balancer":                     {slice("203.0.113.7"), serviceEvent("infra", "gw", "10.1.0.9", outer(func(s *model.Service) { s.Balanced = parsed("203.0.113.7") })), "10.0.0.1:8080 203.0.113.7:8080 tenant/sa/web", own, ""},
		"one of mode Proxy":                   {slice("203.0.113.7"), serviceEvent("infra", "gw", "10.1.0.9", outer(func(s *model.Service) { s.LoadBalancer = []string{"203.0.113.7", "lb.example"} })), "10.0.0.1:8080 203.0.113.7:8080 tenant/sa/web", own, ""},
		"its other port":                      {onPort(8081, slice("203.0.113.7")), serviceEvent("infra", "gw", "10.1.0.9", outer(func(s *model.Service) { s.Balanced = parsed("203.0.113.7") })), "10.0.0.1:8081 203.0.113.7:8081 tenant/sa/web", "", ""},
		"a Gateway's external IP":             {slice("203.0.113.7"), serviceEvent("infra", "gw", "10.1.0.9", outer(func(s *model.Service) { s.External, s.Gateway = parsed("203.0.113.7"), "gw" })), "10.0.0.1:8080 203.0.113.7:8080 tenant/sa/web", own, ""},
		"an external IP of its own namespace": {slice("203.0.113.7"), serviceEvent("tenant", "again", "10.1.0.9", outer(func(s *model.Service) { s.External = parsed("203.0.113.7") })), "10.0.0.1:8080 203.0.113.7:8080 tenant/sa/web", own, ""},
		"what another tenant claims":          {slice("203.0.113.7"), serviceEvent("shop", "claim", "10.1.0.9", outer(func(s *model.Service) { s.External = parsed("203.0.113.7") })), "10.0.0.1:8080 203.0.113.7:8080 tenant/sa/web", "", ""},
		"a node port":                         {onPort(30081, slice("192.168.0.1")), serviceEvent("tenant", "again", "10.1.0.9", outer(func(*model.Service) {})), "10.0.0.1:30081 192.168.0.1:30081 tenant/sa/web", "10.0.0.1:30081 tenant/sa/web", ""},
		"that of a pod on the node's network": {onPort(30081, slice("192.168.0.1 host")), serviceEvent("tenant", "again", "10.1.0.9", outer(func(*model.Service) {})), "10.0.0.1:30081 192.168.0.1:30081 tenant/sa/web", "10.0.0.1:30081 tenant/sa/web", ""},
		"another port of the node":            {slice("192.168.0.1 host"), serviceEvent("tenant", "again", "10.1.0.9", outer(func(*model.Service) {})), "10.0.0.1:8080 192.168.0.1:8080 tenant/sa/web", "", ""},
		"an address of a pod that has ended":  {slice("10.0.0.2 ended"), podEvent("tenant", "ended", "10.0.0.2", func(w *model.Workload) { w.Ended, w.Kind = true, "" }), "10.0.0.1:8080 10.0.0.2:8080 tenant/sa/web", own, "10.0.0.1:8080 tenant/sa/web"},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.slice.Object.(model.Slice)
			s.Ports = append(s.Ports, model.SlicePort{Name: "udp", Port: s.Ports[0].Port, UDP: true})
			c.slice.Object = s
			g := newCluster(t, namespaceEvent("tenant", true), namespaceEvent("shop", true), podEvent("tenant", "web", "10.0.0.1"),
				podEvent("tenant", "host", "192.168.0.1", host), c.slice,
				serviceEvent("tenant", "web", "10.1.0.1", func(s *model.Service) {
					s.Ports = append(s.Ports, model.ServicePort{Name: "udp", Port: 53, Protocol: model.UDP})
				}), tcpRouteTo("tenant", "web", 80), udpRouteTo("tenant", "web", 53))
			sidecar, gateway := model.Places(false, "n1", "z1"), model.Places(true, "n1", "z1")
			if c.gateway == "" {
				c.gateway = c.sidecar
			}
			if c.before == "" {
				c.before = c.sidecar
			}
			check := func(when, list, side, gate string) {
				t.Helper()
				if d := cmp.Diff(side, g.uses(list, sidecar)); side != "" && d != "" {
					t.Errorf("%s: a sidecar, %s: %s", when, list, d)
				}
				if d := cmp.Diff(gate, g.uses(list, gateway)); gate != "" && d != "" {
					t.Errorf("%s: a Gateway, %s: %s", when, list, d)
				}
			}
			check("before", "out/tenant/web/80", "", c.before)
			g.apply(c.behind)
			for _, list := range []string{"out/tenant/web/80", bytesOf, datagrams} {
				check("with it", list, c.sidecar, c.gateway)
			}
			if n := g.g.Evals()["resolved"]; n > 2 {
				t.Errorf("%d Services are resolved again", n)
			}
			g.apply(gone(c.behind))
			check("after", "out/tenant/web/80", "", c.before)
			if n := g.g.Evals()["resolved"]; n > 1 {
				t.Errorf("%d Services are resolved again", n)
			}
		})
	}
}

// TestGatewaysBeyondPlaces: what Gateways must not use stays left out of a port for which clients follow no hints any more.
func TestGatewaysBeyondPlaces(t *testing.T) {
	var got []model.Endpoints
	emit := withinPlaces(model.SmallPairs, func(l model.Endpoints) { got = append(got, l) })
	gateway := model.NearEndpoints{Place: model.Place{Gateway: true}}
	for range 2 {
		l := model.Endpoints{Near: []model.NearEndpoints{gateway}}
		for i := range model.PlacesOf(model.SmallPairs, true) {
			l.Near = append(l.Near, model.NearEndpoints{Place: model.Place{Node: fmt.Sprint(i)}})
		}
		emit(l)
	}
	emit(model.Endpoints{Near: []model.NearEndpoints{gateway}})
	for i, want := range []int{1 + model.PlacesOf(model.SmallPairs, true), 1, 1} {
		if near := got[i].Near; len(near) != want || !near[0].Place.Gateway {
			t.Errorf("port %d has %d places, want %d with the Gateways' first", i, len(near), want)
		}
	}
}
