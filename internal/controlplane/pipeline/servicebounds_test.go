// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

const mebi = 1 << 20

// meshOf is a namespace with meshed pods on that many nodes.
func meshOf(t *testing.T, nodes int) *Graph {
	t.Helper()
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	events := []source.Event{class(), {Kind: source.Namespace, Key: model.Key{Name: "tenant"}, Object: model.Namespace{Name: "tenant", Meshed: true}}}
	for i := range nodes {
		k := model.Key{Namespace: "tenant", Name: fmt.Sprintf("pod-%03d", i)}
		events = append(events, source.Event{Kind: source.Pod, Key: k, Object: model.Workload{
			Key: k, UID: k.Name, Kind: names.KindSidecar, Node: fmt.Sprintf("node-%03d", i), ServiceAccount: "default",
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})},
		}})
	}
	g.Apply(events, testSettings())
	return g
}

// tenantService is a Service of that many ports, as the API server has it.
func tenantService(ports int, change func(*corev1.Service)) source.Event {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "tenant", Name: "web"}, Spec: corev1.ServiceSpec{ClusterIP: "11.0.0.1"}}
	for i := range ports {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: fmt.Sprintf("http-%d", i), Port: int32(1000 + i)})
	}
	if change != nil {
		change(s)
	}
	svc := source.ServiceFrom(s)
	return source.Event{Kind: source.Service, Key: svc.Key, Object: svc}
}

func nodeLocal(s *corev1.Service) {
	local := corev1.ServiceInternalTrafficPolicyLocal
	s.Spec.InternalTrafficPolicy = &local
}

// tenantSlice has the pods of a tenant behind the ports, and that many addresses more.
func tenantSlice(ports, pods, more int) source.Event {
	k := model.Key{Namespace: "tenant", Name: "web-1"}
	s := model.Slice{Key: k, Service: model.Key{Namespace: "tenant", Name: "web"}}
	for i := range ports {
		s.Ports = append(s.Ports, model.SlicePort{Name: fmt.Sprintf("http-%d", i), Port: uint16(8000 + i)})
	}
	for i := range pods {
		s.Endpoints = append(s.Endpoints, model.SliceEndpoint{
			Addr: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Node: fmt.Sprintf("node-%03d", i),
			Pod: model.Key{Namespace: "tenant", Name: fmt.Sprintf("pod-%03d", i)}, Ready: true, Serving: true,
		})
	}
	for i := range more {
		s.Endpoints = append(s.Endpoints, model.SliceEndpoint{Addr: netip.AddrFrom4([4]byte{10, 99, byte(i >> 8), byte(i)}), Ready: true, Serving: true})
	}
	return source.Event{Kind: source.EndpointSlice, Key: k, Object: s}
}

// tenantRoute is HTTPRoute n of 16 rules for all ports of the Service.
func tenantRoute(n int, generation int64) source.Event {
	kind, group, port := gwapiv1.Kind("Service"), gwapiv1.Group(""), gwapiv1.PortNumber(1000)
	k := model.Key{Namespace: "tenant", Name: fmt.Sprintf("route-%03d", n)}
	o := &gwapiv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name, UID: types.UID(k.String()), Generation: generation},
		Spec:       gwapiv1.HTTPRouteSpec{CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: []gwapiv1.ParentReference{{Group: &group, Kind: &kind, Name: "web"}}}},
	}
	for i := range 16 {
		path := fmt.Sprintf("/%d/%d/%d", n, i, generation)
		o.Spec.Rules = append(o.Spec.Rules, gwapiv1.HTTPRouteRule{
			Matches:     []gwapiv1.HTTPRouteMatch{{Path: &gwapiv1.HTTPPathMatch{Value: &path}}},
			BackendRefs: []gwapiv1.HTTPBackendRef{{BackendRef: gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Name: "web", Port: &port}}}},
		})
	}
	return source.Event{Kind: "HTTPRoute", Key: k, Object: o}
}

// cost is what a change costs.
type cost struct{ resources, bytes, allocated, live int }

func (c cost) within(o cost) bool {
	return c.resources <= o.resources && c.bytes <= o.bytes && c.allocated <= o.allocated && c.live <= o.live
}

func measure(t *testing.T, g *Graph, name string, events ...source.Event) cost {
	t.Helper()
	heap := func() (live, total uint64) {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc, m.TotalAlloc
	}
	live, total := heap()
	r := g.Apply(events, Inputs{})
	nowLive, nowTotal := heap()
	c := cost{resources: len(r.Resources), allocated: int(nowTotal - total), live: int(nowLive) - int(live)}
	for _, x := range r.Resources {
		c.bytes += len(x.Resource.Body)
		for _, v := range x.Resource.Variants {
			c.bytes += len(v.Body)
		}
	}
	t.Logf("%s: %d resources of %d KiB, %d KiB allocated, %d KiB more in use, %d functions", name, c.resources, c.bytes>>10, c.allocated>>10, c.live>>10, g.engine.TotalEvals())
	return c
}

// TestServiceBounds: whatever one Service, its EndpointSlices and its routes say, they cost a bounded amount. Each
// case comes in two sizes; what the second one has more of costs in proportion at most.
func TestServiceBounds(t *testing.T) {
	headless := func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone }
	routes := func(n int) (out []source.Event) {
		for i := range n {
			out = append(out, tenantRoute(i, 1))
		}
		return out
	}
	for _, c := range []struct {
		name   string
		nodes  int
		events []source.Event
		want   cost
		// then is a change of one object, and what it may cost.
		then     source.Event
		wantThen cost
	}{
		{
			"250 ports", 10,
			[]source.Event{tenantService(250, nil), tenantSlice(250, 10, 0)},
			cost{1200, 4 * mebi, 64 * mebi, 24 * mebi},
			tenantSlice(250, 9, 0),
			cost{300, mebi, 16 * mebi, 4 * mebi},
		},
		{
			"15,000 ports", 10,
			[]source.Event{tenantService(15_000, nil), tenantSlice(15_000, 10, 0)},
			cost{1200, 4 * mebi, 64 * mebi, 24 * mebi},
			tenantSlice(15_000, 9, 0),
			cost{300, mebi, 16 * mebi, 4 * mebi},
		},
		{
			"250 ports, Local, 20 nodes", 20,
			[]source.Event{tenantService(250, nodeLocal), tenantSlice(250, 20, 0)},
			cost{4000, 12 * mebi, 160 * mebi, 48 * mebi},
			tenantSlice(250, 19, 0),
			cost{600, 2 * mebi, 64 * mebi, 8 * mebi},
		},
		{
			"500 ports, Local, 40 nodes", 40,
			[]source.Event{tenantService(500, nodeLocal), tenantSlice(500, 40, 0)},
			cost{6000, 24 * mebi, 320 * mebi, 80 * mebi},
			tenantSlice(500, 39, 0),
			cost{600, 4 * mebi, 128 * mebi, 8 * mebi},
		},
		{
			"16 ports, Local, 40 nodes, 50 routes", 40, append(routes(50), tenantService(16, nodeLocal), tenantSlice(16, 40, 0)),
			cost{400, 8 * mebi, 256 * mebi, 32 * mebi},
			tenantRoute(3, 2),
			cost{50, 4 * mebi, 192 * mebi, 8 * mebi},
		},
		{
			"32 ports, Local, 40 nodes, 100 routes", 40, append(routes(100), tenantService(32, nodeLocal), tenantSlice(32, 40, 0)),
			cost{400, 8 * mebi, 256 * mebi, 32 * mebi},
			tenantRoute(3, 2),
			cost{50, 4 * mebi, 192 * mebi, 8 * mebi},
		},
		{
			"50 ports, 50 routes", 1, append(routes(50), tenantService(50, nil)),
			cost{300, 4 * mebi, 256 * mebi, 32 * mebi},
			tenantRoute(3, 2),
			cost{120, 4 * mebi, 192 * mebi, 8 * mebi},
		},
		{
			"100 ports, 100 routes", 1, append(routes(100), tenantService(100, nil)),
			cost{600, 4 * mebi, 256 * mebi, 32 * mebi},
			tenantRoute(3, 2),
			cost{120, 4 * mebi, 192 * mebi, 8 * mebi},
		},
		{
			"250 ports, 1,000 endpoints", 1,
			[]source.Event{tenantService(250, nil), tenantSlice(250, 1, 1000)},
			cost{1200, 8 * mebi, 256 * mebi, 64 * mebi},
			tenantSlice(250, 1, 999),
			cost{10, mebi, 64 * mebi, 8 * mebi},
		},
		{
			"250 ports, 2,000 endpoints", 1,
			[]source.Event{tenantService(250, nil), tenantSlice(250, 1, 2000)},
			cost{1200, 8 * mebi, 256 * mebi, 64 * mebi},
			tenantSlice(250, 1, 1999),
			cost{10, mebi, 64 * mebi, 8 * mebi},
		},
		{
			"250 ports, headless, 20 pods", 20,
			[]source.Event{tenantService(250, headless), tenantSlice(250, 20, 0)},
			cost{1500, 12 * mebi, 128 * mebi, 40 * mebi},
			tenantSlice(250, 19, 0),
			cost{400, 2 * mebi, 64 * mebi, 8 * mebi},
		},
		{
			"500 ports, headless, 40 pods", 40,
			[]source.Event{tenantService(500, headless), tenantSlice(500, 40, 0)},
			cost{2000, 20 * mebi, 192 * mebi, 60 * mebi},
			tenantSlice(500, 39, 0),
			cost{400, 2 * mebi, 96 * mebi, 8 * mebi},
		},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			g := meshOf(t, c.nodes)
			if got := measure(t, g, "all", c.events...); !got.within(c.want) {
				t.Errorf("it costs %+v, want at most %+v", got, c.want)
			}
			if got := measure(t, g, "one change", c.then); !got.within(c.wantThen) {
				t.Errorf("one change costs %+v, want at most %+v", got, c.wantThen)
			}
		})
	}
}

// TestOwnNode: a port of a Service with internalTrafficPolicy Local that has no variants for nodes has one listener for
// all clients, by which each reaches the endpoints of its own node, and none if there are none on it.
func TestOwnNode(t *testing.T) {
	g := meshOf(t, 3)
	all := map[xds.Key]xds.Resource{}
	apply := func(events ...source.Event) {
		for _, c := range g.Apply(events, Inputs{}).Resources {
			if delete(all, c.Resource.Key); !c.Remove {
				all[c.Resource.Key] = c.Resource
			}
		}
	}
	has := func(typeURL, name string, want bool) {
		t.Helper()
		if _, ok := all[xds.Key{TypeURL: typeURL, Name: name}]; ok != want {
			t.Errorf("%s %s exists: %v, want %v", typeURL, name, ok, want)
		}
	}
	apply(tenantService(17, nodeLocal), tenantSlice(17, 2, 0))
	has(envoy.ListenerType, "out/tenant/web/1015/node/node-002", true)
	has(envoy.ClusterType, "out/tenant/web/1015/node/*", false)
	has(envoy.ListenerType, "out/tenant/web/1016", true)
	has(envoy.ListenerType, "out/tenant/web/1016/node/node-002", false)
	has(envoy.ClusterType, "out/tenant/web/1016", true) // for Gateways
	has(envoy.ClusterType, "out/tenant/web/1016/node/*", true)
	addr := func(i int) []model.Endpoint {
		return []model.Endpoint{{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 8016), Meshed: true}}
	}
	got, _ := g.services.endpoints.Value("out/tenant/web/1016/node/*")
	want := model.Endpoints{
		Key: model.PortKey{Service: model.Key{Namespace: "tenant", Name: "web"}, Port: 1016}, Node: names.OwnNode,
		Near: []model.NearEndpoints{{Place: model.Place{Node: "node-000"}, List: addr(0)}, {Place: model.Place{Node: "node-001"}, List: addr(1)}},
	}
	if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
		t.Error(d)
	}
	table, _ := g.services.tables.Value("out/tenant/web/1016")
	if b := table.Backends(model.Object{}); len(b) != 1 || b[0].Node != names.OwnNode {
		t.Errorf("the table has backends %v", b)
	}
	scope, _ := g.scopes.all[0].Value(names.ScopeNamespace("tenant"))
	if !slices.Contains(scope.Listeners, "out/tenant/web/1016") || slices.Contains(scope.Local, "out/tenant/web/1016") || !slices.Contains(scope.Clusters, "out/tenant/web/1016/node/*") {
		t.Errorf("the scope has %+v", scope)
	}
	// So do programs without a proxy.
	g.Apply(nil, Inputs{Asked: map[names.Target]bool{{Namespace: "tenant", Node: "node-001", Host: "web.tenant:1016"}: true}})
	if e, ok := g.clients.endpoints.Value("out/tenant/web/1016/node/*"); !ok || len(e.List) != 0 || len(e.Near) != 2 {
		t.Errorf("programs without a proxy have %+v", e)
	}
	// The port before it goes: then it is among those with variants.
	apply(tenantService(17, func(s *corev1.Service) { nodeLocal(s); s.Spec.Ports = s.Spec.Ports[1:] }))
	has(envoy.ListenerType, "out/tenant/web/1016/node/node-002", true)
	has(envoy.ClusterType, "out/tenant/web/1016/node/*", false)
	// A table that is large for all nodes has none either.
	routes := make([]source.Event, 0, 16)
	for i := range 16 {
		routes = append(routes, tenantRoute(i, 1))
	}
	apply(append(routes, tenantService(1, nodeLocal))...)
	has(envoy.ListenerType, "out/tenant/web/1000/node/node-002", false)
	has(envoy.ClusterType, "out/tenant/web/1000/node/*", true)
	verdict, _ := g.verdicts.routes.Value(model.Object{Kind: "HTTPRoute", Namespace: "tenant", Name: "route-003"})
	lead := []xds.Key{{TypeURL: envoy.ListenerType, Name: "out/tenant/web/1000"}}
	rest := []xds.Key{{TypeURL: envoy.ClusterType, Name: "out/tenant/web/1000/node/*"}, {TypeURL: envoy.EndpointsType, Name: "out/tenant/web/1000/node/*"}}
	if len(verdict.Needs) != 1 || cmp.Diff(lead, verdict.Needs[0].Lead) != "" || cmp.Diff(rest, verdict.Needs[0].Rest) != "" {
		t.Errorf("the route needs %+v", verdict.Needs)
	}
}

// TestTooManyRules: routes beyond the bound have no effect on the Service and report it; those of other namespaces and
// routes that name their ports are not concerned, and one takes the place of an older one that goes.
func TestTooManyRules(t *testing.T) {
	g := meshOf(t, 1)
	events := []source.Event{tenantService(250, nil)}
	for i := range 5 {
		events = append(events, tenantRoute(i, 1))
	}
	other := tenantRoute(7, 1)
	foreign := other.Object.(*gwapiv1.HTTPRoute)
	ns := gwapiv1.Namespace("tenant")
	other.Key.Namespace, foreign.Namespace = "other", "other"
	foreign.Spec.ParentRefs[0].Namespace = &ns
	named := tenantRoute(8, 1)
	port := gwapiv1.PortNumber(1000)
	named.Object.(*gwapiv1.HTTPRoute).Spec.ParentRefs[0].Port = &port
	g.Apply(append(events, other, named), Inputs{})
	accepted := func() (out []string) {
		for k, v := range g.verdicts.routes.All() {
			c := v.Parents[0].Conditions[0]
			if c.Status == metav1.ConditionTrue {
				out = append(out, k.Namespace+"/"+k.Name)
				continue
			}
			if c.Reason != "TooManyRules" || !strings.Contains(c.Message, "Service tenant/web are too large: their rules may take 4096 KiB") || len(v.Parents[0].Tables) > 0 {
				t.Errorf("%v: %+v", k, v)
			}
		}
		slices.Sort(out)
		return out
	}
	if d := cmp.Diff([]string{"other/route-007", "tenant/route-000", "tenant/route-001", "tenant/route-008"}, accepted()); d != "" {
		t.Errorf("accepted (-want +got):\n%s", d)
	}
	table, _ := g.services.tables.Value("out/tenant/web/1001")
	if n := len(table.Hosts[0].Rules); n != 32 {
		t.Errorf("the table has %d rules, want those of two routes", n)
	}
	g.Apply([]source.Event{{Kind: "HTTPRoute", Key: model.Key{Namespace: "tenant", Name: "route-000"}}}, Inputs{})
	if d := cmp.Diff([]string{"other/route-007", "tenant/route-001", "tenant/route-002", "tenant/route-008"}, accepted()); d != "" {
		t.Errorf("accepted, after one went (-want +got):\n%s", d)
	}
}

// TestMorePorts: connections to ports of a Service beyond those that have listeners go over mutual TLS to whatever
// endpoint kube-proxy chooses, if each of them has a proxy that takes them, and else pass untouched.
func TestMorePorts(t *testing.T) {
	const ports = model.MaxPorts + 2
	g := meshOf(t, 3)
	more, never := netip.MustParseAddrPort("11.0.0.1:1257"), netip.MustParseAddrPort("11.0.0.1:1000")
	service := model.Key{Namespace: "tenant", Name: "web"}
	g.Apply([]source.Event{tenantService(ports, nil), tenantSlice(ports, 3, 0)}, Inputs{Dialled: map[netip.AddrPort]bool{more: true, never: true}})
	check := func(what string, addr netip.AddrPort, meshed bool) {
		t.Helper()
		want := model.Destination{Addr: addr}
		if meshed {
			want.Service, want.Transport, want.Original = model.PortKey{Service: service, Port: addr.Port()}, model.MeshOnly, true
		}
		got, _ := g.destinations.clusters.Value(addr)
		if got.Addr != want.Addr || got.Service != want.Service || got.Transport != want.Transport || got.Original != want.Original || got.Account != want.Account {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	check("a port beyond the bound", more, true)
	check("a port with a listener", never, false)
	if _, ok := g.services.frontends.Value("out/tenant/web/1257"); ok {
		t.Error("the port has a listener")
	}
	if p, _ := g.services.peers.Value(service); len(p.Identities) != 1 {
		t.Errorf("the Service's pods are %v", p.Identities)
	}
	route := tenantRoute(0, 1)
	port := gwapiv1.PortNumber(1257)
	route.Object.(*gwapiv1.HTTPRoute).Spec.ParentRefs[0].Port = &port
	g.Apply([]source.Event{route}, Inputs{})
	for _, v := range g.verdicts.routes.All() {
		if c := v.Parents[0].Conditions[0]; c.Status != metav1.ConditionFalse || !strings.HasSuffix(c.Message, "and 2 TCP ports beyond the first 256 of spec.ports, which cannot be used in routes; divide the Service") {
			t.Errorf("the route's condition is %+v", c)
		}
	}
	g.Apply([]source.Event{tenantSlice(ports, 3, 1)}, Inputs{})
	check("with an endpoint without a proxy", more, false)
	g.Apply([]source.Event{tenantSlice(ports, 3, 0)}, Inputs{})
	check("without it", more, true)
	k := model.Key{Namespace: "tenant", Name: "pod-001"}
	g.Apply([]source.Event{{Kind: source.Pod, Key: k, Object: model.Workload{
		Key: k, UID: k.Name, Kind: names.KindSidecar, Node: "node-001", ServiceAccount: "default", Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, ExcludedInboundPorts: []uint16{1},
	}}}, Inputs{})
	check("with a proxy that leaves a port out", more, false)
}

// TestLargeServicesOfANamespace: many Services of which each is as large as may be cost no more together than the pairs
// that a namespace may use, and take nothing from smaller Services or from those of other namespaces.
func TestLargeServicesOfANamespace(t *testing.T) {
	large := func(namespace string, n int) []source.Event {
		k := model.Key{Namespace: namespace, Name: fmt.Sprintf("large-%03d", n)}
		svc := model.Service{Key: k, Headless: true}
		s := model.Slice{Key: k, Service: k}
		for i := range model.MaxPorts {
			name := fmt.Sprintf("p%d", i)
			svc.Ports = append(svc.Ports, model.ServicePort{Name: name, Port: uint16(1 + i), Protocol: model.TCP})
			s.Ports = append(s.Ports, model.SlicePort{Name: name, Port: uint16(1 + i)})
		}
		for i := range 1000 {
			s.Endpoints = append(s.Endpoints, model.SliceEndpoint{Addr: netip.AddrFrom4([4]byte{10, 99, byte(i >> 8), byte(i)}), Ready: true, Serving: true})
		}
		return []source.Event{{Kind: source.Service, Key: k, Object: svc}, {Kind: source.EndpointSlice, Key: k, Object: s}}
	}
	pairs := func(g *Graph, namespace string) (n int) {
		for k, v := range g.services.resolved.All() {
			for _, p := range v.Ports {
				if k.Namespace == namespace {
					n += len(p.Endpoints)
				}
			}
		}
		return n
	}
	g := meshOf(t, 1)
	g.Apply([]source.Event{namespaceEvent("other", true), serviceEvent("tenant", "small", "10.96.0.1"), sliceEvent("tenant", "small", "10.0.0.1")}, Inputs{})
	g.Apply(large("other", 0), Inputs{})
	alone := pairs(g, "other")
	if alone != model.MaxPairs/model.MaxPorts*model.MaxPorts {
		t.Fatalf("a large Service alone uses %d pairs", alone)
	}
	// Up to five have the share that one has, so the others are not evaluated when one comes or goes.
	for n, want := range []int{1, 1, 1, 1, 1, 6} {
		g.Apply(large("third", n), Inputs{})
		if got := g.Evals()["resolved"]; got != want {
			t.Errorf("large Service %d: %d Services are evaluated, want %d", n+1, got, want)
		}
	}
	for n, want := range []int{5, 0, 0, 0} {
		g.Apply([]source.Event{{Kind: source.Service, Key: model.Key{Namespace: "third", Name: fmt.Sprintf("large-%03d", n)}}}, Inputs{})
		if got := g.Evals()["resolved"]; got != want {
			t.Errorf("%d large Services are left: %d are evaluated, want %d", 5-n, got, want)
		}
	}
	for _, n := range []int{10, 40} {
		var events []source.Event
		for i := range n {
			events = append(events, large("tenant", i)...)
		}
		c := measure(t, g, fmt.Sprintf("%d large Services", n), events...)
		if got := pairs(g, "tenant"); got > model.NamespacePairs+1 || got < model.NamespacePairs*3/4 || c.live > 160*mebi {
			t.Errorf("%d Services use %d pairs, and %d MiB more", n, got, c.live/mebi)
		}
	}
	if got := pairs(g, "other"); got != alone {
		t.Errorf("the Service of another namespace uses %d pairs, and used %d", got, alone)
	}
	if small, ok := g.services.resolved.Value(model.Key{Namespace: "tenant", Name: "small"}); !ok || len(small.Ports[0].Endpoints) != 1 {
		t.Error("a small Service lost its endpoint")
	}
}
