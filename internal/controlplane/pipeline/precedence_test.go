// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
)

// crowd is a Gateway of a tenant with many listeners, and many routes of different kinds that may be in conflict.
type crowd struct {
	protocol  gwapiv1.ProtocolType
	listeners int
	onePort   bool                        // of several, told apart by host names
	hostname  func(i int) string          // of listener i
	kinds     []string                    // of routes, from the oldest on
	hosts     func(kind, n, i int) string // name i of route n of a kind
}

func (c crowd) gateway() source.Event {
	k, passthrough := model.Key{Namespace: "tenant", Name: "gw"}, gwapiv1.TLSModePassthrough
	gw := &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: k.Namespace, Name: k.Name, Generation: 1}, Spec: gwapiv1.GatewaySpec{GatewayClassName: "tulle"}}
	for i := range c.listeners {
		li := gwapiv1.Listener{Name: gwapiv1.SectionName(fmt.Sprintf("l%02d", i)), Port: 1000, Protocol: c.protocol}
		if !c.onePort {
			li.Port += gwapiv1.PortNumber(i)
		}
		if c.protocol == gwapiv1.TLSProtocolType {
			li.TLS = &gwapiv1.ListenerTLSConfig{Mode: &passthrough}
		}
		if h := c.hostname(i); h != "" {
			li.Hostname = (*gwapiv1.Hostname)(&h)
		}
		gw.Spec.Listeners = append(gw.Spec.Listeners, li)
	}
	return source.Event{Kind: source.Gateway, Key: k, Object: gw}
}

// route is route n of a kind. Its generation changes its rules, and rename one of its host names.
func (c crowd) route(kind, n int, generation int64, rename string) source.Event {
	k := model.Key{Namespace: "tenant", Name: fmt.Sprintf("r%05d", n)}
	meta := metav1.ObjectMeta{
		Namespace: k.Namespace, Name: k.Name, UID: types.UID(k.String()), Generation: generation,
		CreationTimestamp: metav1.NewTime(time.Unix(int64(1_700_000_000+kind), 0)),
	}
	common := gwapiv1.CommonRouteSpec{ParentRefs: []gwapiv1.ParentReference{{Name: "gw"}}}
	var hosts []gwapiv1.Hostname
	for i := range 16 {
		if h := c.hosts(kind, n, i); h != "" {
			hosts = append(hosts, gwapiv1.Hostname(h))
		}
	}
	if rename != "" && len(hosts) > 0 {
		hosts[0] = gwapiv1.Hostname(rename)
	}
	port, weight := gwapiv1.PortNumber(80), int32(generation)
	to := []gwapiv1.BackendRef{{BackendObjectReference: gwapiv1.BackendObjectReference{Name: "web", Port: &port}, Weight: &weight}, {BackendObjectReference: gwapiv1.BackendObjectReference{Name: "web", Port: &port}}}
	e := source.Event{Kind: source.Kind(c.kinds[kind]), Key: k}
	switch c.kinds[kind] {
	case "HTTPRoute":
		e.Object = &gwapiv1.HTTPRoute{ObjectMeta: meta, Spec: gwapiv1.HTTPRouteSpec{CommonRouteSpec: common, Hostnames: hosts, Rules: []gwapiv1.HTTPRouteRule{{
			BackendRefs: []gwapiv1.HTTPBackendRef{{BackendRef: to[0]}, {BackendRef: to[1]}},
		}}}}
	case "GRPCRoute":
		e.Object = &gwapiv1.GRPCRoute{ObjectMeta: meta, Spec: gwapiv1.GRPCRouteSpec{CommonRouteSpec: common, Hostnames: hosts, Rules: []gwapiv1.GRPCRouteRule{{
			BackendRefs: []gwapiv1.GRPCBackendRef{{BackendRef: to[0]}, {BackendRef: to[1]}},
		}}}}
	case "TLSRoute":
		e.Object = &gwapiv1.TLSRoute{ObjectMeta: meta, Spec: gwapiv1.TLSRouteSpec{CommonRouteSpec: common, Hostnames: hosts, Rules: []gwapiv1.TLSRouteRule{{BackendRefs: to}}}}
	case "TCPRoute":
		e.Object = &gwapiv1.TCPRoute{ObjectMeta: meta, Spec: gwapiv1.TCPRouteSpec{CommonRouteSpec: common, Rules: []gwapiv1.TCPRouteRule{{BackendRefs: to}}}}
	}
	return e
}

func (c crowd) graph(routes int) *Graph {
	g, web := New(nil), model.Key{Namespace: "tenant", Name: "web"}
	events := []source.Event{
		class(), c.gateway(),
		{Kind: source.Namespace, Key: model.Key{Name: "tenant"}, Object: model.Namespace{Name: "tenant", Meshed: true}},
		{Kind: source.Service, Key: web, Object: model.Service{
			Key: web, VIPs: []netip.Addr{netip.MustParseAddr("11.0.0.1")}, Ports: []model.ServicePort{{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}},
		}},
	}
	for kind := range c.kinds {
		for n := range routes {
			events = append(events, c.route(kind, n, 1, ""))
		}
	}
	g.Apply(events, testSettings())
	return g
}

func same16(_, n, i int) string { return fmt.Sprintf("h%d.r%05d.example.com", i, n) }

func anyName(int) string { return "" }

// crowds are Gateways whose routes could each be compared with each other on each listener.
func crowds() map[string]crowd {
	http := []string{"GRPCRoute", "HTTPRoute"}
	return map[string]crowd{
		"two kinds, other host names":                             {gwapiv1.HTTPProtocolType, 64, false, anyName, http, func(kind, n, i int) string { return fmt.Sprintf("*.h%d.r%05d.k%d.example.com", i, n, kind) }},
		"two kinds, the same host names, all of the younger lose": {gwapiv1.HTTPProtocolType, 64, false, anyName, http, same16},
		"two kinds, listeners with wider and wider wildcards": {gwapiv1.HTTPProtocolType, 16, true, func(i int) string {
			return "*" + ".a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.com"[2*i:]
		}, http, func(_, n, i int) string { return fmt.Sprintf("h%d.r%05d.a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.com", i, n) }},
		"TLSRoutes with names of their own": {gwapiv1.TLSProtocolType, 64, true, func(i int) string { return fmt.Sprintf("*.l%02d.example.com", i) }, []string{"TLSRoute"}, func(_, n, i int) string {
			return fmt.Sprintf("r%05d.l%02d.example.com", n, i*4)
		}},
		"TLSRoutes of which the first has all": {gwapiv1.TLSProtocolType, 64, false, anyName, []string{"TLSRoute"}, func(_, _, i int) string { return fmt.Sprintf("h%d.example.com", i) }},
		"TCPRoutes of which the first has all": {gwapiv1.TCPProtocolType, 64, false, anyName, []string{"TCPRoute"}, func(int, int, int) string { return "" }},
	}
}

// TestCostOfConflicts: a change of one route of a Gateway costs at most in proportion to the routes beside it, whatever
// these and the listeners are, and an edit of its rules evaluates no other route.
func TestCostOfConflicts(t *testing.T) {
	const few, many = 20, 80
	for name, c := range crowds() {
		t.Run(name, func(t *testing.T) {
			cost := func(g *Graph, e source.Event) (bytes uint64, evals map[string]int) {
				runtime.GC()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				g.Apply([]source.Event{e}, Inputs{})
				runtime.ReadMemStats(&after)
				return after.TotalAlloc - before.TotalAlloc, g.Evals()
			}
			small, large := c.graph(few), c.graph(many)
			for _, change := range []struct {
				name   string
				routes int // that are evaluated again: a name that is given up may go to another route
				event  source.Event
				allows uint64
			}{
				{"rules", 1, c.route(0, 3, 2, ""), 4 << 20},
				{"a host name", 2, c.route(0, 3, 3, "*.l00.example.com"), 8 << 20},
			} {
				if c.kinds[0] == "TLSRoute" {
					change.allows = 32 << 20 // a listener's streams are one list, which is built again
				}
				less, _ := cost(small, change.event)
				more, evals := cost(large, change.event)
				t.Logf("%s: %d KiB allocated with %d routes of a kind, %d KiB with %d; %v", change.name, less>>10, few, more>>10, many, evals)
				if more > less*many/few*5/4+256<<10 || more > change.allows {
					t.Errorf("%s: %d bytes allocated with %d routes of a kind and %d with %d", change.name, less, few, more, many)
				}
				for _, of := range []string{"route verdicts", "route parts", "route listeners"} {
					if evals[of] > change.routes {
						t.Errorf("%s: %s of %d routes are made again, want at most %d", change.name, of, evals[of], change.routes)
					}
				}
			}
		})
	}
}
