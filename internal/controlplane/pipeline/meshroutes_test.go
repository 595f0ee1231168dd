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
	"tulle.dev/tulle/internal/names"
)

// tenant makes objects of a tenant that has many of one kind. generation 2 is a change of what 1 was.
type tenant struct{}

func (tenant) meta(k model.Key, generation int64) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: k.Namespace, Name: k.Name, UID: types.UID(k.String()), Generation: generation, CreationTimestamp: metav1.NewTime(time.Unix(1_700_000_000, 0)),
	}
}

func (tenant) key(name string, n int) model.Key {
	return model.Key{Namespace: "tenant", Name: fmt.Sprintf("%s-%05d", name, n)}
}

// service has so many ports, declared to speak HTTP or not at all.
func (tenant) service(ports int, declared bool) source.Event {
	s := model.Service{Key: model.Key{Namespace: "tenant", Name: "web"}, VIPs: []netip.Addr{netip.MustParseAddr("11.0.0.1")}}
	for i := range ports {
		p := model.ServicePort{Name: fmt.Sprintf("p-%d", i), Port: uint16(80 + i), Protocol: model.TCP}
		if declared {
			p.Protocol, p.Declared = model.HTTP, true
		}
		s.Ports = append(s.Ports, p)
	}
	return source.Event{Kind: source.Service, Key: s.Key, Object: s}
}

func (tenant) parents() gwapiv1.CommonRouteSpec {
	kind, group, ns := gwapiv1.Kind("Service"), gwapiv1.Group(""), gwapiv1.Namespace("tenant")
	return gwapiv1.CommonRouteSpec{ParentRefs: []gwapiv1.ParentReference{{Group: &group, Kind: &kind, Namespace: &ns, Name: "web"}}}
}

func (tenant) backends(n int) (out []gwapiv1.BackendRef) {
	port, ns := gwapiv1.PortNumber(80), gwapiv1.Namespace("tenant")
	for range n {
		out = append(out, gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Namespace: &ns, Name: "web", Port: &port}})
	}
	return out
}

// http has four rules with so many backends each.
func (t tenant) http(k model.Key, generation int64, backends int) source.Event {
	r := &gwapiv1.HTTPRoute{ObjectMeta: t.meta(k, generation), Spec: gwapiv1.HTTPRouteSpec{CommonRouteSpec: t.parents()}}
	for i := range 4 {
		path := fmt.Sprintf("/%s/%d/%d", k.Name, i, generation)
		u := gwapiv1.HTTPRouteRule{Matches: []gwapiv1.HTTPRouteMatch{{Path: &gwapiv1.HTTPPathMatch{Value: &path}}}}
		for _, b := range t.backends(backends) {
			u.BackendRefs = append(u.BackendRefs, gwapiv1.HTTPBackendRef{BackendRef: b})
		}
		r.Spec.Rules = append(r.Spec.Rules, u)
	}
	return source.Event{Kind: "HTTPRoute", Key: k, Object: r}
}

// onPort is an HTTPRoute for one port of the Service.
func (tenant) onPort(e source.Event, port gwapiv1.PortNumber) source.Event {
	e.Object.(*gwapiv1.HTTPRoute).Spec.ParentRefs[0].Port = &port
	return e
}

func (t tenant) grpc(k model.Key, generation int64) source.Event {
	return source.Event{Kind: "GRPCRoute", Key: k, Object: &gwapiv1.GRPCRoute{ObjectMeta: t.meta(k, generation), Spec: gwapiv1.GRPCRouteSpec{CommonRouteSpec: t.parents()}}}
}

func (t tenant) tls(k model.Key, generation int64) source.Event {
	return source.Event{Kind: "TLSRoute", Key: k, Object: &gwapiv1.TLSRoute{ObjectMeta: t.meta(k, generation), Spec: gwapiv1.TLSRouteSpec{
		CommonRouteSpec: t.parents(), Hostnames: []gwapiv1.Hostname{gwapiv1.Hostname(k.Name + ".example.com"), "shared.example.com"},
		Rules: []gwapiv1.TLSRouteRule{{BackendRefs: t.backends(int(generation))}},
	}}}
}

func (t tenant) tcp(k model.Key, generation int64) source.Event {
	return source.Event{Kind: "TCPRoute", Key: k, Object: &gwapiv1.TCPRoute{ObjectMeta: t.meta(k, generation), Spec: gwapiv1.TCPRouteSpec{
		CommonRouteSpec: t.parents(), Rules: []gwapiv1.TCPRouteRule{{BackendRefs: t.backends(int(generation))}},
	}}}
}

func gone(e source.Event) source.Event { e.Object = nil; return e }

// many are so many objects.
func many(n int, object func(int) source.Event) (out []source.Event) {
	for i := range n {
		out = append(out, object(i))
	}
	return out
}

// TestManyRoutesOfAService: with four times as many routes on a Service, a change of one costs no more functions, where
// it is no matter of the others, and allocates in proportion, since the tables of the Service hold the rules of all.
func TestManyRoutesOfAService(t *testing.T) {
	var a tenant
	consumer := func(n int) model.Key {
		return model.Key{Namespace: fmt.Sprintf("consumer-%05d", n), Name: "own"}
	}
	for _, c := range []struct {
		name   string
		events func(n int) []source.Event
		change source.Event
		// all: the results of all routes may change.
		all bool
	}{
		{
			name: "HTTPRoutes",
			events: func(n int) []source.Event {
				return append(many(n, func(i int) source.Event { return a.http(a.key("r", i), 1, 1) }), a.service(1, true))
			},
			change: a.http(a.key("r", 3), 2, 1),
		},
		{
			name: "HTTPRoutes on ten ports",
			events: func(n int) []source.Event {
				return append(many(n, func(i int) source.Event { return a.http(a.key("r", i), 1, 1) }), a.service(10, true))
			},
			change: a.http(a.key("r", 3), 2, 1),
		},
		{
			name: "HTTPRoutes to a port that declares no protocol",
			events: func(n int) []source.Event {
				return append(many(n, func(i int) source.Event { return a.http(a.key("r", i), 1, 4) }), a.service(1, false))
			},
			change: a.http(a.key("r", 3), 2, 4),
		},
		{
			name: "the deletion of an HTTPRoute",
			events: func(n int) []source.Event {
				return append(many(n, func(i int) source.Event { return a.http(a.key("r", i), 1, 1) }), a.service(1, true))
			},
			change: gone(a.http(a.key("r", 3), 1, 1)),
		},
		{
			name: "a GRPCRoute before HTTPRoutes",
			events: func(n int) []source.Event {
				return append(many(n, func(i int) source.Event { return a.http(a.key("r", i), 1, 1) }), a.service(1, true), a.grpc(a.key("g", 0), 1))
			},
			change: a.grpc(a.key("g", 0), 2),
		},
		{
			name: "the first GRPCRoute",
			events: func(n int) []source.Event {
				return append(many(n, func(i int) source.Event { return a.http(a.key("r", i), 1, 1) }), a.service(1, true))
			},
			change: a.grpc(a.key("g", 0), 2),
			all:    true,
		},
		{
			name: "TLSRoutes",
			events: func(n int) []source.Event {
				return append(many(n, func(i int) source.Event { return a.tls(a.key("t", i), 1) }), a.service(1, false))
			},
			change: a.tls(a.key("t", 3), 2),
		},
		{
			name: "TCPRoutes",
			events: func(n int) []source.Event {
				return append(many(n, func(i int) source.Event { return a.tcp(a.key("t", i), 1) }), a.service(1, false))
			},
			change: a.tcp(a.key("t", 0), 2),
		},
		{
			name: "HTTPRoutes of as many namespaces",
			events: func(n int) []source.Event {
				return append(many(n, func(i int) source.Event { return a.http(consumer(i), 1, 1) }), a.service(1, true))
			},
			change: a.http(consumer(3), 2, 1),
		},
		{
			name: "namespaces with routes for another port",
			events: func(n int) []source.Event {
				other := many(n, func(i int) source.Event { return a.onPort(a.http(consumer(i), 1, 1), 81) })
				return append(append(many(20, func(i int) source.Event { return a.http(a.key("r", i), 1, 1) }), other...), a.service(2, true))
			},
			change: a.http(a.key("r", 3), 2, 1),
			all:    true, // the tables of all hold the rule
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			measure := func(n int) (evals map[string]int, allocated uint64) {
				g := New(nil)
				pod := model.Key{Namespace: "tenant", Name: "client"}
				g.Apply(append(c.events(n),
					source.Event{Kind: source.Namespace, Key: model.Key{Name: "tenant"}, Object: model.Namespace{Name: "tenant", Meshed: true}},
					source.Event{Kind: source.Pod, Key: pod, Object: model.Workload{Key: pod, UID: "u", Kind: names.KindSidecar, Node: "n", ServiceAccount: "default"}},
				), testSettings())
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				r := g.Apply([]source.Event{c.change}, Inputs{})
				took := time.Since(start)
				runtime.ReadMemStats(&after)
				t.Logf("%d: %v, %d functions, %d KiB allocated, %d resources published, %d verdicts", n, took, g.engine.TotalEvals(), (after.TotalAlloc-before.TotalAlloc)>>10, len(r.Resources), len(r.Routes))
				if len(r.Routes) == 0 || len(g.Failures()) > 0 {
					t.Errorf("%d verdicts have changed, failures: %v", len(r.Routes), g.Failures())
				}
				return g.Evals(), after.TotalAlloc - before.TotalAlloc
			}
			few, fewBytes := measure(100)
			lot, lotBytes := measure(400)
			for name, n := range lot {
				if n > few[name] && !(c.all && n <= 4*few[name]+1) {
					t.Errorf("%s: %d functions with 400 routes, %d with 100", name, n, few[name])
				}
			}
			if lotBytes > 8*fewBytes { // the square would be 16 times as many; encoders keep buffers, so it is not exact
				t.Errorf("%d bytes are allocated with 400 routes, %d with 100", lotBytes, fewBytes)
			}
		})
	}
}
