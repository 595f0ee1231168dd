// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"net/netip"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// TestInboundPorts: what a server's proxy takes a port of its pod to speak follows from the Services of the
// pod's own namespace and from the routes that are attached to them there. Services of other namespaces that
// lead to the same pod change nothing, in whatever order they come and go.
func TestInboundPorts(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	pod := model.Key{Namespace: "a", Name: "p0"}
	address := netip.MustParseAddr("10.0.0.1")
	events := func(namespace, name, port string, number uint16, target uint16) []source.Event {
		p := model.ServicePort{Name: port, Port: number}
		p.Protocol, p.Declared = model.ProtocolOf("", port, number)
		key := model.Key{Namespace: namespace, Name: name}
		slice := model.Slice{
			Key: model.Key{Namespace: namespace, Name: name + "-1"}, Service: key, Ports: []model.SlicePort{{Name: port, Port: target}},
			Endpoints: []model.SliceEndpoint{{Addr: address, Pod: pod, Ready: true, Serving: true}},
		}
		vip := netip.AddrFrom4([4]byte{11, 0, namespace[0], byte(number)})
		return []source.Event{
			{Kind: source.Service, Key: key, Object: model.Service{Key: key, VIPs: []netip.Addr{vip}, Ports: []model.ServicePort{p}}},
			{Kind: source.EndpointSlice, Key: slice.Key, Object: slice},
		}
	}
	has := state{}
	change := func(what string, e []source.Event, in Inputs, ports ...model.InboundPort) {
		t.Helper()
		has.apply(t, g.Apply(e, in))
		want := model.Inbound{Pod: pod, Ports: ports}
		k := xds.Key{TypeURL: envoy.ListenerType, Name: names.Inbound("a", "p0")}
		if got, _, _ := strings.Cut(has[k], " "); got != resource(envoy.Inbound(want), want).Version {
			t.Errorf("%s: the inbound listener has version %q, not that of %+v", what, got, ports)
		}
	}
	meshed := func(ns string) source.Event {
		return source.Event{Kind: source.Namespace, Key: model.Key{Name: ns}, Object: model.Namespace{Name: ns, Meshed: true}}
	}
	workload := model.Workload{Key: pod, UID: "u", Addresses: []netip.Addr{address}, Node: "n1", ServiceAccount: "default", Kind: names.KindSidecar}
	change("no Service", []source.Event{class(), meshed("a"), meshed("b"), {Kind: source.Pod, Key: pod, Object: workload}}, testSettings())

	http := model.InboundPort{Port: 8080, Protocol: model.HTTP}
	raw := model.PortKey{Service: model.Key{Namespace: "a", Name: "raw"}, Port: 81}
	change("an HTTP port", events("a", "web", "http", 80, 8080), Inputs{}, http)
	change("gRPC by a stranger", events("b", "rpc", "grpc", 90, 8080), Inputs{}, http)
	change("bytes by a stranger", events("b", "raw", "tcp-raw", 81, 8080), Inputs{}, http)
	change("another port by a stranger", events("b", "more", "http", 83, 9999), Inputs{}, http)
	change("a port that says nothing", events("a", "none", "any", 82, 8080), Inputs{}, http)
	http.Bytes = []model.PortKey{raw}
	change("a port that is declared to be bytes", events("a", "raw", "tcp-raw", 81, 8080), Inputs{}, http)
	grpc := http
	grpc.Protocol = model.GRPC
	change("gRPC, too", events("a", "rpc", "grpc", 90, 8080), Inputs{}, grpc)
	gone := events("a", "rpc", "grpc", 90, 8080)
	for i := range gone {
		gone[i].Object = nil
	}
	change("no gRPC any more", gone, Inputs{}, http)
	// A route that names the port says that it is HTTP; one for all ports of a Service with a single one, too.
	route := &gwapiv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "r", Generation: 1}}
	core, kind := gwapiv1.Group(""), gwapiv1.Kind(gatewayapi.KindService)
	route.Spec.ParentRefs = []gwapiv1.ParentReference{{Group: &core, Kind: &kind, Name: "raw"}}
	route.Spec.Rules = []gwapiv1.HTTPRouteRule{{BackendRefs: []gwapiv1.HTTPBackendRef{{BackendRef: to(model.Key{Namespace: "a", Name: "web"})}}}}
	http.Bytes = nil
	change("a route on what was bytes", []source.Event{{Kind: "HTTPRoute", Key: model.Key{Namespace: "a", Name: "r"}, Object: route}}, Inputs{}, http)
}
