// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package source

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// consumer keeps what a Source delivers.
type consumer struct {
	mu      sync.Mutex
	changed chan struct{}
	batches [][]Event
	now     map[place]any
}

func (c *consumer) deliver(batch []Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.batches = append(c.batches, batch)
	for _, e := range batch {
		if e.Object == nil {
			delete(c.now, place{e.Kind, e.Key})
		} else {
			c.now[place{e.Kind, e.Key}] = e.Object
		}
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// until waits until what has been delivered fulfils a condition.
func (c *consumer) until(t *testing.T, what string, is func(now map[place]any, batches [][]Event) bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		c.mu.Lock()
		ok, changed := is(c.now, c.batches), c.changed
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("not within 30 s: %s; delivered are %v", what, c.now)
		}
	}
}

func (c *consumer) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.batches)
}

// start runs a Source against a server until the test ends.
func start(t *testing.T, set func(*apiServer), adjust ...func(*Source)) (*apiServer, *Source, *consumer) {
	t.Helper()
	server, cfg := newAPIServer(t)
	set(server)
	s, err := New(cfg, Options{SystemNamespace: "tulle-system", Log: logr.Discard()})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range adjust {
		f(s)
	}
	c := &consumer{changed: make(chan struct{}), now: map[place]any{}}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx, c.deliver) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
	return server, s, c
}

func at(kind Kind, namespace, name string) place {
	return place{kind, model.Key{Namespace: namespace, Name: name}}
}

var gatewayAPI = []resource{{"gatewayclasses", "GatewayClass", false}, {"gateways", "Gateway", true}, {"listenersets", "ListenerSet", true}, {"httproutes", "HTTPRoute", true}, {"grpcroutes", "GRPCRoute", true}, {"tlsroutes", "TLSRoute", true}, {"tcproutes", "TCPRoute", true}, {"udproutes", "UDPRoute", true}, {"backendtlspolicies", "BackendTLSPolicy", true}}

func installAll(s *apiServer) {
	s.install("tulle.dev", "v1alpha1", resource{"meshes", "Mesh", false})
	s.install("gateway.networking.k8s.io", "v1", gatewayAPI...)
	s.install("gateway.networking.k8s.io", "v1beta1", resource{"referencegrants", "ReferenceGrant", true})
}

func fill(s *apiServer) {
	installAll(s)
	s.put("tulle.dev/v1alpha1/meshes", `{metadata: {name: m}, spec: {version: 0.1.0, injection: {namespaceSelector: {matchLabels: {team: a}}}}}`)
	s.put("v1/namespaces", `{metadata: {name: shop, labels: {team: a}}}`)
	s.put("v1/services", `{metadata: {namespace: shop, name: web}, spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}]}}`)
	s.put("v1/pods", `{metadata: {namespace: shop, name: web-0}}`)
	s.put("discovery.k8s.io/v1/endpointslices", `{metadata: {namespace: shop, name: web-1, labels: {kubernetes.io/service-name: web}}, addressType: IPv4}`)
	s.put("gateway.networking.k8s.io/v1/gatewayclasses", `{metadata: {name: tulle}, spec: {controllerName: tulle.dev/mesh-controller}}`)
	s.put("gateway.networking.k8s.io/v1/gateways", `{metadata: {namespace: shop, name: edge}, spec: {gatewayClassName: tulle}}`)
	s.put("gateway.networking.k8s.io/v1/listenersets", `{metadata: {namespace: shop, name: s}, spec: {parentRef: {name: edge}}}`)
	s.put("gateway.networking.k8s.io/v1/httproutes", `{metadata: {namespace: shop, name: r, generation: 1, managedFields: [{manager: kubectl}], annotations: {kubectl.kubernetes.io/last-applied-configuration: x}}, spec: {hostnames: [a.b]}, status: {parents: []}}`)
	s.put("gateway.networking.k8s.io/v1/grpcroutes", `{metadata: {namespace: shop, name: g}}`)
	s.put("gateway.networking.k8s.io/v1/tlsroutes", `{metadata: {namespace: shop, name: r}}`)
	s.put("gateway.networking.k8s.io/v1/tcproutes", `{metadata: {namespace: shop, name: r}}`)
	s.put("gateway.networking.k8s.io/v1/udproutes", `{metadata: {namespace: shop, name: r}}`)
	s.put("gateway.networking.k8s.io/v1beta1/referencegrants", `{metadata: {namespace: shop, name: g}, spec: {from: [], to: []}}`)
	s.put("gateway.networking.k8s.io/v1/backendtlspolicies", `{metadata: {namespace: shop, name: p}, status: {ancestors: []}}`)
	s.put(nodes, `{metadata: {name: n1, labels: {topology.kubernetes.io/zone: z1, other: x}}}`)
}

// TestFirstBatch: it holds every object of every kind, in order, and only it makes the source synced.
func TestFirstBatch(t *testing.T) {
	_, s, c := start(t, fill)
	c.until(t, "the first batch", func(_ map[place]any, b [][]Event) bool { return len(b) > 0 })
	c.until(t, "synced", func(map[place]any, [][]Event) bool { return true })
	var kinds []Kind
	for _, e := range c.batches[0] {
		kinds = append(kinds, e.Kind)
	}
	if !slices.Equal(kinds, Kinds()) {
		t.Errorf("the first batch holds %v", kinds)
	}
	if ns := c.now[at(Namespace, "", "shop")].(model.Namespace); !ns.Meshed {
		t.Errorf("the Mesh's selector does not count: %+v", ns)
	}
	r := c.now[at("HTTPRoute", "shop", "r")].(*gwapiv1.HTTPRoute)
	if r.ManagedFields != nil || r.ResourceVersion != "" || r.Annotations != nil || r.Status.Parents != nil || len(r.Spec.Hostnames) != 1 || r.Generation != 1 {
		t.Errorf("the route is not trimmed, or too much: %+v", r)
	}
	if _, ok := c.now[at(ReferenceGrant, "shop", "g")].(*gwapiv1.ReferenceGrant); !ok {
		t.Errorf("a grant is a %T", c.now[at(ReferenceGrant, "shop", "g")])
	}
	if w := s.Waiting(); len(w) > 0 {
		t.Errorf("still waiting for %v", w)
	}
}

// TestChanges: an object that appears, changes or goes is delivered; a change of nothing that is kept is not.
func TestChanges(t *testing.T) {
	server, s, c := start(t, fill)
	c.until(t, "the first batch", func(_ map[place]any, b [][]Event) bool { return len(b) > 0 })
	server.put("v1/services", `{metadata: {namespace: shop, name: new}, spec: {clusterIP: 10.0.0.2}}`)
	c.until(t, "a new Service", func(now map[place]any, _ [][]Event) bool { return now[at(Service, "shop", "new")] != nil })
	if !s.Synced() {
		t.Error("not synced after the first batch")
	}
	batches := c.count()
	// A status of our own making and a pod's heartbeat, then something that counts behind them on the same watches.
	server.put("gateway.networking.k8s.io/v1/httproutes", `{metadata: {namespace: shop, name: r, generation: 1}, spec: {hostnames: [a.b]}, status: {parents: [{controllerName: x/y, parentRef: {name: web}, conditions: []}]}}`)
	server.put("v1/pods", `{metadata: {namespace: shop, name: web-0}, status: {phase: Running, startTime: "2026-01-01T00:00:00Z"}}`)
	server.put("gateway.networking.k8s.io/v1/httproutes", `{metadata: {namespace: shop, name: r2}}`)
	server.put("v1/pods", `{metadata: {namespace: shop, name: web-0}, status: {phase: Failed}}`)
	c.until(t, "what counts", func(now map[place]any, _ [][]Event) bool {
		w, _ := now[at(Pod, "shop", "web-0")].(model.Workload)
		return w.Ended && now[at("HTTPRoute", "shop", "r2")] != nil
	})
	for _, b := range c.batches[batches:] {
		for _, e := range b {
			if e.Key.Name == "r" {
				t.Errorf("a status was delivered as a change: %+v", e)
			}
		}
	}
	server.remove("v1/services", "shop/new")
	c.until(t, "the Service gone", func(now map[place]any, _ [][]Event) bool { return now[at(Service, "shop", "new")] == nil })
	server.put("discovery.k8s.io/v1/endpointslices", `{metadata: {namespace: shop, name: web-1}, addressType: IPv4}`)
	c.until(t, "a slice that lost its Service gone", func(now map[place]any, _ [][]Event) bool { return now[at(EndpointSlice, "shop", "web-1")] == nil })
}

// TestSelection: which namespaces are meshed follows the oldest Mesh.
func TestSelection(t *testing.T) {
	server, _, c := start(t, func(s *apiServer) {
		installAll(s)
		s.put("v1/namespaces", `{metadata: {name: a, labels: {team: a}}}`)
		s.put("v1/namespaces", `{metadata: {name: b, labels: {team: b}}}`)
		s.put("v1/namespaces", `{metadata: {name: tulle-system, labels: {team: b}}}`)
	})
	meshed := func(want ...string) func(map[place]any, [][]Event) bool {
		return func(now map[place]any, _ [][]Event) bool {
			var got []string
			for _, n := range []string{"a", "b", "c", "tulle-system"} {
				if ns, ok := now[at(Namespace, "", n)].(model.Namespace); ok && ns.Meshed {
					got = append(got, n)
				}
			}
			return len(now) >= 3 && slices.Equal(got, want)
		}
	}
	c.until(t, "no namespace without a Mesh", meshed())
	server.put("tulle.dev/v1alpha1/meshes", `{metadata: {name: young, creationTimestamp: "2026-02-01T00:00:00Z"}, spec: {version: 0.1.0, injection: {namespaceSelector: {matchLabels: {team: b}}}}}`)
	c.until(t, "the selector's namespace", meshed("b"))
	server.put("tulle.dev/v1alpha1/meshes", `{metadata: {name: old, creationTimestamp: "2026-01-01T00:00:00Z"}, spec: {version: 0.1.0, injection: {namespaceSelector: {matchLabels: {team: a}}}}}`)
	c.until(t, "that of the older Mesh instead", meshed("a"))
	server.put("v1/namespaces", `{metadata: {name: c, labels: {team: a}}}`)
	c.until(t, "a new namespace", meshed("a", "c"))
	server.put("v1/namespaces", `{metadata: {name: b, labels: {tulle.dev/inject: enabled}}}`)
	c.until(t, "one that says so itself", meshed("a", "b", "c"))
	server.remove("tulle.dev/v1alpha1/meshes", "old")
	c.until(t, "the younger Mesh again", meshed("b"))
}

// TestNamedMesh: a control plane of one Mesh follows that one, whatever its age.
func TestNamedMesh(t *testing.T) {
	_, _, c := start(t, func(s *apiServer) {
		fill(s)
		s.put("v1/namespaces", `{metadata: {name: other, labels: {team: b}}}`)
		s.put("tulle.dev/v1alpha1/meshes", `{metadata: {name: mine, creationTimestamp: "2026-02-01T00:00:00Z"}, spec: {version: 0.1.0, injection: {namespaceSelector: {matchLabels: {team: b}}}}}`)
	}, func(s *Source) { s.options.Mesh = "mine" })
	c.until(t, "the namespace that the named Mesh selects", func(now map[place]any, _ [][]Event) bool {
		shop, _ := now[at(Namespace, "", "shop")].(model.Namespace)
		other, _ := now[at(Namespace, "", "other")].(model.Namespace)
		return other.Meshed && !shop.Meshed
	})
}

// TestMissingCRDs: kinds that the cluster does not have count as empty; they are picked up once they
// are there, and are empty again once they are gone.
func TestMissingCRDs(t *testing.T) {
	server, _, c := start(t, func(s *apiServer) {
		s.put("v1/namespaces", `{metadata: {name: shop}}`)
		// A release that has the kind in an older version only.
		s.put("apiextensions.k8s.io/v1/customresourcedefinitions", `{metadata: {name: grpcroutes.gateway.networking.k8s.io}, spec: {versions: [{name: v1alpha2, served: true}, {name: v1, served: false}]}}`)
	})
	c.until(t, "the first batch without Gateway API", func(now map[place]any, _ [][]Event) bool { return now[at(Namespace, "", "shop")] != nil })
	installAll(server)
	server.put("gateway.networking.k8s.io/v1/httproutes", `{metadata: {namespace: shop, name: r}}`)
	server.put("gateway.networking.k8s.io/v1/grpcroutes", `{metadata: {namespace: shop, name: g}}`)
	c.until(t, "routes", func(now map[place]any, _ [][]Event) bool {
		return now[at("HTTPRoute", "shop", "r")] != nil && now[at("GRPCRoute", "shop", "g")] != nil
	})
	server.hide("gateway.networking.k8s.io", true)
	for _, r := range gatewayAPI {
		server.remove("apiextensions.k8s.io/v1/customresourcedefinitions", r.name+".gateway.networking.k8s.io")
	}
	server.cut()
	c.until(t, "no routes", func(now map[place]any, _ [][]Event) bool {
		return now[at("HTTPRoute", "shop", "r")] == nil && now[at("GRPCRoute", "shop", "g")] == nil
	})
}

// TestNotYetDiscovered: a CRD that is there but that discovery does not show, as just after the API
// server has started, is waited for: nothing is delivered without its objects.
func TestNotYetDiscovered(t *testing.T) {
	server, s, c := start(t, func(s *apiServer) {
		fill(s)
		s.hide("gateway.networking.k8s.io", true)
	})
	deadline := time.Now().Add(30 * time.Second)
	for !slices.Equal(s.Waiting(), []Kind{GatewayClass, Gateway, ListenerSet, "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute", ReferenceGrant, "BackendTLSPolicy"}) || !asked(server, "customresourcedefinitions/httproutes") {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %v", s.Waiting())
		}
		time.Sleep(10 * time.Millisecond) // a condition without a channel to wait on
	}
	if c.count() > 0 || s.Synced() {
		t.Error("a batch without routes that exist")
	}
	server.hide("gateway.networking.k8s.io", false)
	c.until(t, "everything", func(now map[place]any, _ [][]Event) bool { return len(now) == len(Kinds()) })
	if len(c.batches[0]) != len(Kinds()) {
		t.Errorf("the first batch holds %d objects", len(c.batches[0]))
	}
}

func asked(s *apiServer, part string) bool {
	return slices.ContainsFunc(s.requests(), func(r string) bool { return strings.Contains(r, part) })
}

// TestRestart: what changed while the API server was away is made up for, deletions as well.
func TestRestart(t *testing.T) {
	server, _, c := start(t, fill)
	c.until(t, "the first batch", func(_ map[place]any, b [][]Event) bool { return len(b) > 0 })
	server.outage(true)
	server.cut()
	server.mu.Lock()
	delete(server.objects["v1/services"], "shop/web") // unseen: no watch is open
	server.mu.Unlock()
	server.put("v1/pods", `{metadata: {namespace: shop, name: web-1}}`)
	server.forget()
	server.outage(false)
	c.until(t, "the state after the restart", func(now map[place]any, _ [][]Event) bool {
		return now[at(Service, "shop", "web")] == nil && now[at(Pod, "shop", "web-1")] != nil && now[at("HTTPRoute", "shop", "r")] != nil
	})
}

// TestWatchBackoff: an API server that is back is asked again after 15 seconds at most, however long it was away.
// The default of client-go is a minute.
func TestWatchBackoff(t *testing.T) {
	b := watchBackoff()
	for range 100 {
		if d := b.Step(); d > 15*time.Second {
			t.Fatalf("waits %v", d)
		}
	}
}

// TestForbidden: any other kind that may not be read keeps the source from being synced.
func TestForbidden(t *testing.T) {
	_, s, c := start(t, func(s *apiServer) {
		fill(s)
		s.refuse("v1/services")
	}, func(s *Source) { s.patience = 0 })
	deadline := time.Now().Add(30 * time.Second)
	for !slices.Equal(s.Waiting(), []Kind{Service}) {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %v", s.Waiting())
		}
		time.Sleep(10 * time.Millisecond) // a condition without a channel to wait on
	}
	if s.Synced() || c.count() > 0 {
		t.Error("synced without Services")
	}
}
