// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

func testSettings() Inputs {
	roots := "PEM"
	return Inputs{Settings: &model.Settings{TrustDomain: "cluster.local", Version: "0.1.0"}, Roots: &roots}
}

func class() source.Event {
	return source.Event{Kind: source.GatewayClass, Key: model.Key{Name: "tulle"}, Object: &gwapiv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: "tulle", UID: "class", Generation: 1}, Spec: gwapiv1.GatewayClassSpec{ControllerName: names.ControllerName},
	}}
}

// state replays what a graph published: by key, version and body.
type state map[xds.Key]string

func (s state) apply(t *testing.T, r Result) {
	t.Helper()
	for _, c := range r.Resources {
		if c.Remove {
			if _, ok := s[c.Resource.Key]; !ok {
				t.Errorf("%s is removed, but was never published", c.Resource.Key)
			}
			delete(s, c.Resource.Key)
			continue
		}
		text := c.Resource.Version + " " + string(c.Resource.Body)
		for _, v := range c.Resource.Variants {
			text += " " + v.Place + " " + v.Version + " " + string(v.Body)
		}
		s[c.Resource.Key] = text
	}
}

// TestIncrementalIsRebuild: whatever the history, what is published is what a new graph makes of the
// same objects, and a batch that changes nothing evaluates nothing.
func TestIncrementalIsRebuild(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range 20 {
		w := &world{rnd: rand.New(rand.NewPCG(seed, uint64(round)))}
		fail := func(f incr.Failure) { t.Errorf("%s %v: %s\n%s", f.Collection, f.Key, f.Problem, f.Stack) }
		g := New(fail)
		got := state{}
		got.apply(t, g.Apply([]source.Event{class()}, testSettings()))
		now, want, there := map[string]source.Event{}, map[names.Target]bool{}, map[netip.AddrPort]bool{}
		for range 60 {
			batch := make([]source.Event, 1+w.rnd.IntN(4))
			for i := range batch {
				batch[i] = w.event()
				now[fmt.Sprint(batch[i].Kind, batch[i].Key)] = batch[i]
			}
			in := Inputs{Asked: w.asked(want), Dialled: w.dialled(there)}
			got.apply(t, g.Apply(batch, in))
			g.Apply(batch, in)
			if n := g.engine.TotalEvals(); n != 0 {
				t.Fatalf("the same batch again ran %d functions: %v", n, g.Evals())
			}
		}
		all := []source.Event{class()}
		for _, e := range now {
			if e.Object != nil {
				all = append(all, e)
			}
		}
		fresh, inputs := state{}, testSettings()
		inputs.Asked, inputs.Dialled = want, there
		fresh.apply(t, New(fail).Apply(all, inputs))
		if d := cmp.Diff(fresh, got); d != "" {
			t.Fatalf("round %d: a rebuild (-) and the incremental result (+) differ:\n%s", round, d)
		}
	}
}

// TestPublishedReferences: in every state of a random history, whatever a resource needs that a scope
// of the same proxy lists is there, and no two listeners of one proxy have the same address.
func TestPublishedReferences(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	w := &world{rnd: rand.New(rand.NewPCG(seed, 1))}
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	all := map[xds.Key]xds.Resource{}
	take := func(r Result) {
		for _, c := range r.Resources {
			if c.Remove {
				delete(all, c.Resource.Key)
			} else {
				all[c.Resource.Key] = c.Resource
			}
		}
	}
	take(g.Apply([]source.Event{class()}, testSettings()))
	asked := map[names.Target]bool{}
	for range 300 {
		take(g.Apply([]source.Event{w.event(), w.event()}, Inputs{Asked: w.asked(asked)}))
		for k, r := range all {
			for _, n := range r.Needs {
				if n.TypeURL == envoy.RoutesType || n.Name == names.ClientNoBackend {
					if _, ok := all[n]; !ok {
						t.Fatalf("%s needs %s, which is not published", k, n)
					}
				}
			}
			if r.Companion != (xds.Key{}) {
				if _, ok := all[r.Companion]; !ok && k.TypeURL == envoy.ClusterType && (k.Name[:3] == "out" || names.IsClient(k.Name)) {
					t.Fatalf("%s has no endpoints resource", k)
				}
			}
		}
		for _, c := range g.scopes.all {
			for name, sc := range c.All() {
				for _, l := range sc.Listeners {
					if _, ok := all[xds.Key{TypeURL: envoy.ListenerType, Name: l}]; !ok {
						t.Fatalf("scope %s lists listener %s, which is not published", name, l)
					}
				}
				for _, cl := range sc.Clusters {
					if _, ok := all[xds.Key{TypeURL: envoy.ClusterType, Name: cl}]; !ok {
						t.Fatalf("scope %s lists cluster %s, which is not published", name, cl)
					}
				}
				for _, l := range sc.Local {
					if _, ok := all[xds.Key{TypeURL: envoy.ListenerType, Name: l}]; !ok {
						t.Fatalf("scope %s lists listener %s, which is not published", name, l)
					}
				}
				if v := sc.Variants; v != nil {
					for url, variants := range map[string]map[string]string{envoy.ListenerType: v.Listeners, envoy.RoutesType: v.Routes} {
						for of, l := range variants {
							if _, ok := all[xds.Key{TypeURL: url, Name: l}]; !ok {
								t.Fatalf("scope %s has %s for %s, which is not published", name, l, of)
							}
						}
					}
				}
				include := sc.Include
				if sc.Instead != nil {
					include = slices.Concat(include, sc.Instead.Include)
				}
				for _, inc := range include {
					if _, ok := all[xds.Key{TypeURL: protocol.ScopeType, Name: inc}]; !ok {
						t.Fatalf("scope %s includes %s, which is not published", name, inc)
					}
				}
			}
		}
	}
}

// TestLocalTrafficIsWaitedFor: a route on a Service with internalTrafficPolicy Local lives in the
// variants for each node; all of them must be acknowledged.
func TestLocalTrafficIsWaitedFor(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	w := &world{rnd: rand.New(rand.NewPCG(1, 1))}
	svc, pod := model.Key{Namespace: "a", Name: "web"}, model.Key{Namespace: "a", Name: "p0"}
	route := bigRoute(0, 1).Object.(*gwapiv1.HTTPRoute)
	route.Namespace, route.Name = "a", "r"
	route.Spec.ParentRefs[0].Name = "web"
	service := w.service(svc)
	service.Headless, service.LocalTraffic, service.VIPs = false, true, []netip.Addr{netip.MustParseAddr("11.0.0.1")}
	service.Ports = []model.ServicePort{{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}}
	workload := w.workload(pod)
	workload.Kind, workload.Node = names.KindSidecar, "n1"
	r := g.Apply([]source.Event{
		{Kind: source.Namespace, Key: model.Key{Name: "a"}, Object: model.Namespace{Name: "a", Meshed: true}},
		{Kind: source.Service, Key: svc, Object: service},
		{Kind: source.Pod, Key: pod, Object: workload},
		{Kind: "HTTPRoute", Key: model.Key{Namespace: "a", Name: "r"}, Object: route},
	}, testSettings())
	if len(r.Routes) != 1 || len(r.Routes[0].New.Needs) != 1 {
		t.Fatalf("verdicts: %+v", r.Routes)
	}
	need := r.Routes[0].New.Needs[0]
	routes := xds.Key{TypeURL: envoy.RoutesType, Name: "out/a/web/80/node/n1"}
	if d := cmp.Diff([]xds.Key{routes, routes}, need.Follow); d != "" {
		t.Error(d)
	}
	lead := []xds.Key{{TypeURL: envoy.ListenerType, Name: "out/a/web/80/node/n1"}, {TypeURL: envoy.ListenerType, Name: "out/a/web/80/as/shared/node/n1"}}
	if d := cmp.Diff(lead, need.Lead); d != "" {
		t.Errorf("agents that know variants, and those that do not: %s", d)
	}
}

// TestStreamsArePublished: a route of bytes is in the listener of its Gateway's port; what it sends to has
// clusters and endpoints, also those that only it needs; and its acknowledgement is that of all of these.
func TestStreamsArePublished(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	w := &world{rnd: rand.New(rand.NewPCG(1, 1))}
	svc, gw := model.Key{Namespace: "a", Name: "web"}, model.Key{Namespace: "a", Name: "gw"}
	service := w.service(svc)
	service.LocalTraffic = false
	service.Ports = []model.ServicePort{{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}, {Name: "udp", Port: 80, Protocol: model.UDP, Declared: true}}
	gateway := w.gateway(gw)
	gateway.Spec.Listeners[1].Port, gateway.Spec.Listeners[2].Port = 81, 81
	to := gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Name: "web", Port: new(gwapiv1.PortNumber)}}
	*to.Port = 80
	tcp, udp := w.tcpRoute(model.Key{Namespace: "a", Name: "r"}), w.udpRoute(model.Key{Namespace: "a", Name: "r"})
	tcp.Spec.ParentRefs, udp.Spec.ParentRefs = []gwapiv1.ParentReference{{Name: "gw"}}, []gwapiv1.ParentReference{{Name: "gw"}}
	tcp.Spec.Rules[0].BackendRefs, udp.Spec.Rules[0].BackendRefs = []gwapiv1.BackendRef{to}, []gwapiv1.BackendRef{to}
	before := state{}
	before.apply(t, g.Apply([]source.Event{
		class(), {Kind: source.Service, Key: svc, Object: service}, {Kind: source.Gateway, Key: gw, Object: gateway},
	}, testSettings()))
	for _, as := range []string{"/as/bytes", "/as/udp"} {
		if _, ok := before[xds.Key{TypeURL: envoy.ClusterType, Name: "out/a/web/80" + as}]; ok {
			t.Errorf("there is a cluster %s without a route that needs it", as)
		}
	}
	r := g.Apply([]source.Event{
		{Kind: "TCPRoute", Key: model.Key{Namespace: "a", Name: "r"}, Object: tcp},
		{Kind: "UDPRoute", Key: model.Key{Namespace: "a", Name: "r"}, Object: udp},
	}, Inputs{})
	var set []string
	for _, c := range r.Resources {
		set = append(set, c.Resource.Key.String())
	}
	slices.Sort(set)
	want := []string{
		"gw/a/gw/81 (Listener)", "gw/a/gw/udp/81 (Listener)", "out/a/web/80/as/bytes (Cluster)", "out/a/web/80/as/bytes (ClusterLoadAssignment)",
		"out/a/web/80/as/udp (Cluster)", "out/a/web/80/as/udp (ClusterLoadAssignment)", "scope/gateway/a/gw (Scope)", "stream/gw/a/gw/81/tcp/TCPRoute/a/r (TypedExtensionConfig)",
	}
	if d := cmp.Diff(want, set); d != "" {
		t.Errorf("published for two routes (-want +got):\n%s", d)
	}
	for _, ch := range r.Routes {
		port, as := "gw/a/gw/81", "bytes"
		if ch.Key.Kind == "UDPRoute" {
			port, as = "gw/a/gw/udp/81", "udp"
		}
		cluster := "out/a/web/80/as/" + as
		need := ch.New.Needs[0]
		if d := cmp.Diff([]xds.Key{{TypeURL: envoy.ListenerType, Name: port}}, need.Lead); d != "" {
			t.Errorf("%v waits for listeners (-want +got):\n%s", ch.Key, d)
		}
		rest := []xds.Key{{TypeURL: envoy.ClusterType, Name: cluster}, {TypeURL: envoy.EndpointsType, Name: cluster}}
		if as == "bytes" {
			rest = slices.Insert(rest, 0, xds.Key{TypeURL: envoy.ExtensionType, Name: "stream/gw/a/gw/81/tcp/TCPRoute/a/r"})
		}
		if d := cmp.Diff(rest, need.Rest); d != "" {
			t.Errorf("%v waits for backends (-want +got):\n%s", ch.Key, d)
		}
	}
	if len(r.Routes) != 2 {
		t.Errorf("%d verdicts", len(r.Routes))
	}
	// A new weight is none of the listener's business, whose connections would be ended for it.
	tcp = tcp.DeepCopy()
	tcp.Spec.Rules[0].BackendRefs = append(tcp.Spec.Rules[0].BackendRefs, to)
	tcp.Generation++
	set = nil
	for _, c := range g.Apply([]source.Event{{Kind: "TCPRoute", Key: model.Key{Namespace: "a", Name: "r"}, Object: tcp}}, Inputs{}).Resources {
		set = append(set, c.Resource.Key.String())
	}
	if d := cmp.Diff([]string{"stream/gw/a/gw/81/tcp/TCPRoute/a/r (TypedExtensionConfig)"}, set); d != "" {
		t.Errorf("published for a new weight (-want +got):\n%s", d)
	}
}

// TestInboundKnowsItsPortsInTime: what a pod's proxy serves does not change while the pod gets ready,
// fails its probe or ends. A connection that came before the proxy knew its port would be taken for
// HTTP/1.1 as long as it lives.
func TestInboundKnowsItsPortsInTime(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	w := &world{rnd: rand.New(rand.NewPCG(1, 1))}
	svc, pod, slice := model.Key{Namespace: "a", Name: "web"}, model.Key{Namespace: "a", Name: "p0"}, model.Key{Namespace: "a", Name: "web-0"}
	service := w.service(svc)
	service.Headless, service.VIPs = false, []netip.Addr{netip.MustParseAddr("11.0.0.1")}
	service.Ports = []model.ServicePort{{Name: "grpc", Port: 82, Protocol: model.GRPC, Declared: true}}
	workload := w.workload(pod)
	workload.Kind = names.KindSidecar
	inbound := xds.Key{TypeURL: envoy.ListenerType, Name: names.Inbound("a", "p0")}
	at := func(e model.SliceEndpoint) source.Event {
		e.Addr, e.Pod = workload.Addresses[0], pod
		return source.Event{Kind: source.EndpointSlice, Key: slice, Object: model.Slice{
			Key: slice, Service: svc, Ports: []model.SlicePort{{Name: "grpc", Port: 9090}}, Endpoints: []model.SliceEndpoint{e},
		}}
	}
	seen := state{}
	seen.apply(t, g.Apply([]source.Event{
		{Kind: source.Namespace, Key: model.Key{Name: "a"}, Object: model.Namespace{Name: "a", Meshed: true}},
		{Kind: source.Service, Key: svc, Object: service},
		{Kind: source.Pod, Key: pod, Object: workload},
	}, testSettings()))
	without := seen[inbound]
	seen.apply(t, g.Apply([]source.Event{at(model.SliceEndpoint{})}, Inputs{}))
	first := seen[inbound]
	if first == "" || first == without {
		t.Fatal("the listener of a pod that is not ready does not know its port")
	}
	for _, e := range []model.SliceEndpoint{{Ready: true, Serving: true}, {}, {Ready: true, Serving: true}, {Serving: true, Terminating: true}, {Terminating: true}} {
		seen.apply(t, g.Apply([]source.Event{at(e)}, Inputs{}))
		if seen[inbound] != first {
			t.Errorf("the listener is another one when the endpoint is %+v", e)
		}
	}
}
