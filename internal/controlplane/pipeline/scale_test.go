// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/names"
)

// bigService is Service n of a mesh of many, with ten pods behind it; step moves one of their addresses.
func bigService(n, step int) []source.Event {
	ns := fmt.Sprintf("ns-%03d", n%100)
	k := model.Key{Namespace: ns, Name: fmt.Sprintf("svc-%05d", n)}
	addr := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), byte(i)}) }
	events := []source.Event{{Kind: source.Service, Key: k, Object: model.Service{
		Key: k, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{11, byte(n >> 16), byte(n >> 8), byte(n)})},
		Ports: []model.ServicePort{{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}},
	}}}
	slice := model.Slice{Key: k, Service: k, Ports: []model.SlicePort{{Name: "http", Port: 8080}}}
	for i := range 10 {
		a := addr(i)
		if i == 0 {
			a = addr(100 + step)
		}
		slice.Endpoints = append(slice.Endpoints, model.SliceEndpoint{Addr: a, Ready: true, Serving: true})
	}
	return append(events, source.Event{Kind: source.EndpointSlice, Key: k, Object: slice})
}

// hinted is the slice with hints for ten zones.
func hinted(e source.Event) source.Event {
	s := e.Object.(model.Slice)
	for i := range s.Endpoints {
		s.Endpoints[i].Hints = &model.Hints{Zones: []string{fmt.Sprintf("z%d", i)}}
	}
	return e
}

func bigRoute(n int, generation int64) source.Event {
	ns := fmt.Sprintf("ns-%03d", n%100)
	svc := gwapiv1.ObjectName(fmt.Sprintf("svc-%05d", n))
	kind, group, port, weight := gwapiv1.Kind("Service"), gwapiv1.Group(""), gwapiv1.PortNumber(80), int32(generation)
	k := model.Key{Namespace: ns, Name: "route-" + string(svc)}
	return source.Event{Kind: "HTTPRoute", Key: k, Object: &gwapiv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: k.Name, UID: types.UID(k.String()), Generation: generation},
		Spec: gwapiv1.HTTPRouteSpec{
			CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: []gwapiv1.ParentReference{{Group: &group, Kind: &kind, Name: svc}}},
			Rules: []gwapiv1.HTTPRouteRule{{BackendRefs: []gwapiv1.HTTPBackendRef{
				{BackendRef: gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Name: svc, Port: &port}, Weight: &weight}},
				{BackendRef: gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Name: svc, Port: &port}}},
			}}},
		},
	}}
}

func bigMesh(services int) *Graph {
	g := New(nil)
	var all []source.Event
	for n := range 100 {
		ns := fmt.Sprintf("ns-%03d", n)
		all = append(all, source.Event{Kind: source.Namespace, Key: model.Key{Name: ns}, Object: model.Namespace{Name: ns, Meshed: true}})
		pod := model.Key{Namespace: ns, Name: "client"}
		all = append(all, source.Event{Kind: source.Pod, Key: pod, Object: model.Workload{Key: pod, UID: ns, Kind: names.KindSidecar, Node: "n", ServiceAccount: "default"}})
	}
	for n := range services {
		all = append(all, bigService(n, 0)...)
		if n%10 == 0 {
			all = append(all, bigRoute(n, 1))
		}
	}
	inputs := testSettings()
	inputs.Asked = map[names.Target]bool{{Namespace: "ns-001", Node: "n", Host: "svc-00101.ns-001:80"}: true}
	g.Apply(all, inputs)
	return g
}

// TestWorkDoesNotGrow is the promise that the cost of a change is what it touches: one endpoint and
// one route cost the same functions among 1,000 Services as among 20,000, and publish one resource.
func TestWorkDoesNotGrow(t *testing.T) {
	type work struct {
		Evals     map[string]int
		Published []string
	}
	measure := func(services int) map[string]work {
		g := bigMesh(services)
		out := map[string]work{}
		for name, event := range map[string]source.Event{"endpoint": bigService(500, 1)[1], "hint": hinted(bigService(510, 1)[1]), "route": bigRoute(500, 2)} {
			start := time.Now()
			r := g.Apply([]source.Event{event}, Inputs{})
			t.Logf("%d services, one %s: %v, %d functions", services, name, time.Since(start), g.engine.TotalEvals())
			w := work{Evals: g.Evals()}
			for _, c := range r.Resources {
				w.Published = append(w.Published, c.Resource.Key.String())
			}
			out[name] = w
		}
		return out
	}
	small, large := measure(1000), measure(20000)
	if d := cmp.Diff(small, large); d != "" {
		t.Errorf("work at 1,000 services (-) and at 20,000 (+):\n%s", d)
	}
	for name, w := range large {
		if len(w.Published) != 1 {
			t.Errorf("one %s published %v, want exactly its own resource", name, w.Published)
		}
	}
}

// crowdedRoute is route n of a Gateway with many; edit changes a weight. shared: all have one host name.
func crowdedRoute(n int, shared bool, edit int32) source.Event {
	port, weight := gwapiv1.PortNumber(80), 1+edit
	k := model.Key{Namespace: "edge", Name: fmt.Sprintf("route-%05d", n)}
	host, path := gwapiv1.Hostname(k.Name+".example.com"), "/"
	if shared {
		host, path = "www.example.com", "/"+k.Name
	}
	return source.Event{Kind: "HTTPRoute", Key: k, Object: &gwapiv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name, UID: types.UID(k.String()), Generation: int64(weight)},
		Spec: gwapiv1.HTTPRouteSpec{
			CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: []gwapiv1.ParentReference{{Name: "public"}}},
			Hostnames:       []gwapiv1.Hostname{host},
			Rules: []gwapiv1.HTTPRouteRule{{
				Matches: []gwapiv1.HTTPRouteMatch{{Path: &gwapiv1.HTTPPathMatch{Value: &path}}},
				BackendRefs: []gwapiv1.HTTPBackendRef{
					{BackendRef: gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Name: "web", Port: &port}, Weight: &weight}},
					{BackendRef: gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Name: "api", Port: &port}}},
				},
			}},
		},
	}}
}

// crowdedGateway has so many routes to two Services, beside one that they share a Gateway with.
func crowdedGateway(routes int, shared bool) *Graph {
	g := New(nil)
	gw := &gwapiv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: "edge", Name: "public", Generation: 1},
		Spec:       gwapiv1.GatewaySpec{GatewayClassName: "tulle", Listeners: []gwapiv1.Listener{{Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType}}},
	}
	all := []source.Event{
		{Kind: source.Namespace, Key: model.Key{Name: "edge"}, Object: model.Namespace{Name: "edge", Meshed: true}},
		{Kind: source.GatewayClass, Key: model.Key{Name: "tulle"}, Object: &gwapiv1.GatewayClass{
			ObjectMeta: metav1.ObjectMeta{Name: "tulle"}, Spec: gwapiv1.GatewayClassSpec{ControllerName: names.ControllerName},
		}},
		{Kind: source.Gateway, Key: model.Key{Namespace: "edge", Name: "public"}, Object: gw},
	}
	for i, name := range []string{"web", "api"} {
		k := model.Key{Namespace: "edge", Name: name}
		all = append(all, source.Event{Kind: source.Service, Key: k, Object: model.Service{
			Key: k, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{11, 0, 0, byte(i)})},
			Ports: []model.ServicePort{{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}},
		}})
	}
	for n := range routes {
		all = append(all, crowdedRoute(n, shared, 0))
	}
	g.Apply(all, testSettings())
	return g
}

// TestOneRouteOfMany is the promise that an edit of a route costs that route: the same functions among 50
// and among 1,000 routes of a Gateway, and nothing is published but what the route says itself.
func TestOneRouteOfMany(t *testing.T) {
	for _, shared := range []bool{false, true} {
		measure := func(routes int) (map[string]int, []string, int) {
			g := crowdedGateway(routes, shared)
			start := time.Now()
			r := g.Apply([]source.Event{crowdedRoute(7, shared, 5)}, Inputs{})
			var published []string
			bytes := 0
			for _, c := range r.Resources {
				published = append(published, c.Resource.Key.String())
				bytes += len(c.Resource.Body)
			}
			if n := g.Evals()["gateway listeners read"]; n != 0 {
				t.Errorf("the edit of a route reads the Gateway's listeners %d times", n)
			}
			if len(r.Routes) != 1 || len(r.Gateways) != 0 {
				t.Errorf("%d routes: verdicts on %d routes and %d gateways have changed, want one route's", routes, len(r.Routes), len(r.Gateways))
			}
			t.Logf("%d routes: %v, %d functions, %d bytes published: %v", routes, time.Since(start), g.engine.TotalEvals(), bytes, published)
			return g.Evals(), published, bytes
		}
		few, fewPublished, fewBytes := measure(50)
		many, manyPublished, manyBytes := measure(1000)
		if d := cmp.Diff(few, many); d != "" {
			t.Errorf("work with 50 routes (-) and with 1,000 (+):\n%s", d)
		}
		if d := cmp.Diff(fewPublished, manyPublished); d != "" || len(many) == 0 || len(manyPublished) != 1 || fewBytes != manyBytes {
			t.Errorf("published %v, %d bytes, with 50 routes and %v, %d bytes, with 1,000; want the route's own part", fewPublished, fewBytes, manyPublished, manyBytes)
		}
	}
}

// BenchmarkChange measures one change among many Services.
func BenchmarkChange(b *testing.B) {
	for _, services := range []int{1000, 20000} {
		g := bigMesh(services)
		b.Run(fmt.Sprintf("endpoint/services=%d", services), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				g.Apply([]source.Event{bigService(500, 1+i%100)[1]}, Inputs{})
			}
			b.ReportMetric(float64(g.engine.TotalEvals()), "evals/op")
		})
		b.Run(fmt.Sprintf("route/services=%d", services), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				g.Apply([]source.Event{bigRoute(500, int64(2+i))}, Inputs{})
			}
			b.ReportMetric(float64(g.engine.TotalEvals()), "evals/op")
		})
	}
	for _, routes := range []int{50, 500} {
		g := crowdedGateway(routes, true)
		b.Run(fmt.Sprintf("gateway/routes=%d", routes), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				g.Apply([]source.Event{crowdedRoute(7, true, int32(1+i%100))}, Inputs{})
			}
			b.ReportMetric(float64(g.engine.TotalEvals()), "evals/op")
		})
	}
}
