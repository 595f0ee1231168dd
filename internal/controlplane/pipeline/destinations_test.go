// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

func namespaceEvent(name string, meshed bool) source.Event {
	return source.Event{Kind: source.Namespace, Key: model.Key{Name: name}, Object: model.Namespace{Name: name, Meshed: meshed}}
}

func podEvent(ns, name, ip string, change ...func(*model.Workload)) source.Event {
	k := model.Key{Namespace: ns, Name: name}
	w := model.Workload{
		Key: k, UID: k.String(), Addresses: []netip.Addr{netip.MustParseAddr(ip)}, Node: "n1", ServiceAccount: name, Kind: names.KindSidecar, Ready: true,
		NodeAddresses: []netip.Addr{netip.MustParseAddr("192.168.0.1")},
	}
	for _, f := range change {
		f(&w)
	}
	return source.Event{Kind: source.Pod, Key: k, Object: w}
}

func serviceEvent(ns, name, vip string, change ...func(*model.Service)) source.Event {
	k := model.Key{Namespace: ns, Name: name}
	s := model.Service{Key: k, Ports: []model.ServicePort{{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true, NodePort: 30080}}}
	if vip == "" {
		s.Headless = true
	} else {
		s.VIPs = []netip.Addr{netip.MustParseAddr(vip)}
	}
	for _, f := range change {
		f(&s)
	}
	return source.Event{Kind: source.Service, Key: k, Object: s}
}

// sliceEvent has endpoints "IP" or "IP POD" or "IP NAMESPACE/POD", on node n1 or, with a trailing "@NODE", another.
func sliceEvent(ns, service string, endpoints ...string) source.Event {
	k := model.Key{Namespace: ns, Name: service + "-1"}
	s := model.Slice{Key: k, Service: model.Key{Namespace: ns, Name: service}, Ports: []model.SlicePort{{Name: "http", Port: 8080}}}
	for _, text := range endpoints {
		text, node, other := strings.Cut(text, "@")
		if !other {
			node = "n1"
		}
		ip, pod, _ := strings.Cut(text, " ")
		e := model.SliceEndpoint{Addr: netip.MustParseAddr(ip), Node: node, Ready: true, Serving: true}
		if pod != "" {
			e.Pod = model.Key{Namespace: ns, Name: pod}
			if of, name, ok := strings.Cut(pod, "/"); ok {
				e.Pod = model.Key{Namespace: of, Name: name}
			}
		}
		s.Endpoints = append(s.Endpoints, e)
	}
	return source.Event{Kind: source.EndpointSlice, Key: k, Object: s}
}

// cluster is a graph with what it has published.
type cluster struct {
	t   *testing.T
	g   *Graph
	all map[xds.Key]xds.Resource
	// routes are the verdicts.
	routes map[model.Object]status.RouteVerdict
}

func newCluster(t *testing.T, events ...source.Event) *cluster {
	t.Helper()
	c := &cluster{t: t, all: map[xds.Key]xds.Resource{}, routes: map[model.Object]status.RouteVerdict{}}
	c.g = New(func(f incr.Failure) { t.Errorf("%s %v: %s\n%s", f.Collection, f.Key, f.Problem, f.Stack) })
	c.take(c.g.Apply(events, testSettings()))
	return c
}

func (c *cluster) take(r Result) {
	for _, ch := range r.Resources {
		if ch.Remove {
			delete(c.all, ch.Resource.Key)
		} else {
			c.all[ch.Resource.Key] = ch.Resource
		}
	}
	for _, ch := range r.Routes {
		c.routes[ch.Key] = ch.New
	}
}

func (c *cluster) apply(events ...source.Event) { c.take(c.g.Apply(events, Inputs{})) }

func (c *cluster) dial(addrs ...string) {
	in := Inputs{Dialled: map[netip.AddrPort]bool{}}
	for _, a := range addrs {
		in.Dialled[netip.MustParseAddrPort(a)] = true
	}
	c.take(c.g.Apply(nil, in))
}

func (c *cluster) has(url, name string) bool {
	_, ok := c.all[xds.Key{TypeURL: url, Name: name}]
	return ok
}

// reached are the listeners that a pod's proxy gets by its scopes, sorted.
func (c *cluster) reached(ns, pod string) []string {
	scopes := map[string]model.Scope{}
	for _, s := range c.g.scopes.all {
		for name, sc := range s.All() {
			scopes[name] = sc
		}
	}
	var out []string
	todo := []string{names.ScopeSidecar(ns, pod)}
	for len(todo) > 0 {
		sc := scopes[todo[0]]
		out, todo = append(out, sc.Listeners...), append(todo[1:], sc.Include...)
	}
	slices.Sort(out)
	return out
}

// at is what is at a destination that was dialled, in words.
func (c *cluster) at(addr string) string {
	c.t.Helper()
	d, ok := c.g.destinations.clusters.Value(netip.MustParseAddrPort(addr))
	if !ok || !c.has(envoy.ClusterType, "to/"+addr) {
		return "nothing"
	}
	with, _ := c.g.destinations.endpoints.Value(netip.MustParseAddrPort(addr))
	if c.has(envoy.EndpointsType, "to/"+addr) != d.Local {
		c.t.Errorf("%s: a cluster without its endpoints, or endpoints without a use", addr)
	}
	if d.Service != (model.PortKey{}) && !d.Local { // the Service port's
		name := names.Out{Namespace: d.Service.Service.Namespace, Service: d.Service.Service.Name, Port: d.Service.Port}.String()
		with.Endpoints, _ = c.g.services.endpoints.Value(name)
		if !c.has(envoy.EndpointsType, name) {
			c.t.Errorf("%s: there is no %s", addr, name)
		}
	}
	switch {
	case d.Closed:
		return "closed"
	case d.Account != (model.Key{}):
		if !c.has(envoy.SecretType, names.Account(d.Account.Namespace, d.Account.Name)) {
			c.t.Errorf("%s: the secret of its account does not exist", addr)
		}
		return "pod of " + d.Account.String()
	case d.Service != (model.PortKey{}):
		out := string(d.Transport) + " " + d.Service.String()
		for _, e := range with.Endpoints.List {
			out += " " + e.Addr.String()
		}
		return out
	}
	return "untouched"
}

func routeEvent(ns, service string) source.Event {
	kind, group, port := gwapiv1.Kind("Service"), gwapiv1.Group(""), gwapiv1.PortNumber(80)
	return source.Event{Kind: "HTTPRoute", Key: model.Key{Namespace: ns, Name: service}, Object: &gwapiv1.HTTPRoute{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: service, UID: "r", Generation: 1},
		Spec: gwapiv1.HTTPRouteSpec{
			CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: []gwapiv1.ParentReference{{Group: &group, Kind: &kind, Name: gwapiv1.ObjectName(service)}}},
			Rules: []gwapiv1.HTTPRouteRule{{BackendRefs: []gwapiv1.HTTPBackendRef{
				{BackendRef: gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Name: gwapiv1.ObjectName(service), Port: &port}}},
			}}},
		},
	}}
}

func (c *cluster) accepted(ns, route string) string {
	v := c.routes[model.Object{Kind: "HTTPRoute", Namespace: ns, Name: route}]
	for _, p := range v.Parents {
		for _, cond := range p.Conditions {
			if cond.Type == "Accepted" {
				return string(cond.Status) + " " + cond.Reason
			}
		}
	}
	return "unknown"
}

// TestPodWithProxyInPlainNamespace: the label of a pod wins over its namespace's, for the listeners of its
// Service and for routes too, and both follow the pod.
func TestPodWithProxyInPlainNamespace(t *testing.T) {
	c := newCluster(t, namespaceEvent("plain", false), namespaceEvent("meshed", true),
		podEvent("meshed", "client", "10.0.0.1"),
		serviceEvent("plain", "server", "10.1.0.1"), serviceEvent("plain", "other", "10.1.0.2"), serviceEvent("plain", "db", ""),
		routeEvent("plain", "server"))
	base := []string{"in/meshed/client", names.Outbound}
	if d := cmp.Diff(base, c.reached("meshed", "client")); d != "" {
		t.Errorf("without a meshed pod: %s", d)
	}
	if got := c.accepted("plain", "server"); got != "False NoMatchingParent" {
		t.Errorf("without a meshed pod the route is %s", got)
	}
	c.apply(podEvent("plain", "server", "10.0.0.2"), podEvent("plain", "bare", "10.0.0.3", func(w *model.Workload) { w.Kind = "" }),
		sliceEvent("plain", "server", "10.0.0.2 server"), sliceEvent("plain", "other", "10.0.0.3 bare"), sliceEvent("plain", "db", "10.0.0.2 server"))
	want := append(slices.Clone(base), "out/plain/server/80", "pod/plain/server/8080")
	slices.Sort(want)
	if d := cmp.Diff(want, c.reached("meshed", "client")); d != "" {
		t.Errorf("with a meshed pod: %s", d)
	}
	if got := c.accepted("plain", "server"); got != "True Accepted" {
		t.Errorf("with a meshed pod the route is %s", got)
	}
	own := c.reached("plain", "server")
	if !slices.Contains(own, "out/plain/server/80") {
		t.Errorf("the pod itself reaches %v", own)
	}
	// Not usable now, but there.
	ending := sliceEvent("plain", "server", "10.0.0.2 server")
	s := ending.Object.(model.Slice)
	s.Endpoints[0].Ready, s.Endpoints[0].Serving, s.Endpoints[0].Terminating = false, false, true
	c.apply(ending)
	if !slices.Contains(c.reached("meshed", "client"), "out/plain/server/80") {
		t.Error("the listener went while the pod is still there")
	}
	c.apply(sliceEvent("plain", "server"))
	if got := c.accepted("plain", "server"); got != "False NoMatchingParent" {
		t.Errorf("after the pod the route is %s", got)
	}
}

// TestNamespaceLabelRemoved: that a namespace no longer asks for proxies changes nothing for pods that have
// one, and nothing for those that call them.
func TestNamespaceLabelRemoved(t *testing.T) {
	c := newCluster(t, namespaceEvent("shop", true), namespaceEvent("meshed", true), podEvent("meshed", "client", "10.0.0.1"),
		podEvent("shop", "server", "10.0.0.2"), serviceEvent("shop", "server", "10.1.0.1"), serviceEvent("shop", "db", ""),
		sliceEvent("shop", "server", "10.0.0.2 server"), sliceEvent("shop", "db", "10.0.0.2 server"), routeEvent("shop", "server"))
	before, scope := c.reached("meshed", "client"), c.reached("shop", "server")
	r := c.g.Apply([]source.Event{namespaceEvent("shop", false)}, Inputs{})
	if len(r.Resources) != 0 || len(r.Routes) != 0 {
		t.Errorf("resources or verdicts changed: %v %v", r.Resources, r.Routes)
	}
	c.take(r)
	if d := cmp.Diff(before, c.reached("meshed", "client")); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(scope, c.reached("shop", "server")); d != "" {
		t.Error(d)
	}
}

// TestForeignEndpoints: a Service whose slices name pods of another namespace, or have their addresses,
// reaches them over mutual TLS, and changes nothing for them and for their other clients.
func TestForeignEndpoints(t *testing.T) {
	for name, endpoint := range map[string]string{"by name": "10.0.0.2 shop/server", "by address": "10.0.0.2"} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, namespaceEvent("shop", true), namespaceEvent("aaa", false), podEvent("shop", "server", "10.0.0.2"),
				serviceEvent("shop", "db", ""), sliceEvent("shop", "db", "10.0.0.2 server"))
			before := map[xds.Key]xds.Resource{}
			for k, v := range c.all {
				before[k] = v
			}
			http2 := func(s *model.Service) { s.Ports[0].Protocol = model.HTTP2 }
			c.apply(serviceEvent("aaa", "x", "10.1.0.9", http2), sliceEvent("aaa", "x", endpoint),
				serviceEvent("aaa", "heads", "", http2), sliceEvent("aaa", "heads", endpoint))
			for k, v := range before {
				if now, ok := c.all[k]; k.Name != names.ScopeMesh && (!ok || now.Version != v.Version) {
					t.Errorf("%s has changed", k)
				}
			}
			if !slices.Contains(c.reached("shop", "server"), "out/aaa/x/80") {
				t.Error("the Service has no listener")
			}
			peers, _ := c.g.services.peers.Value(model.Key{Namespace: "aaa", Name: "x"})
			if d := cmp.Diff([]string{"spiffe://cluster.local/ns/shop/sa/server"}, peers.Identities); d != "" {
				t.Error(d)
			}
			b, _ := c.g.services.backends.Value("out/aaa/x/80")
			if b.Transport != model.MeshOnly {
				t.Errorf("transport %q", b.Transport)
			}
		})
	}
}

// TestDestinations: what is at each kind of address without a listener.
func TestDestinations(t *testing.T) {
	outside := func(ips ...string) func(*model.Service) {
		return func(s *model.Service) {
			s.Ports[0].NodePort = 30081
			for _, ip := range ips {
				s.Balanced = append(s.Balanced, netip.MustParseAddr(ip))
			}
		}
	}
	second := func(w *model.Workload) {
		w.Node, w.NodeAddresses = "n2", []netip.Addr{netip.MustParseAddr("192.168.0.2")}
	}
	c := newCluster(t, namespaceEvent("shop", true), namespaceEvent("plain", false),
		podEvent("shop", "web", "10.0.0.2", func(w *model.Workload) { w.ExcludedInboundPorts = []uint16{9} }),
		podEvent("shop", "api", "10.0.0.3", second),
		podEvent("shop", "bare", "10.0.0.4", func(w *model.Workload) { w.Kind = "" }),
		podEvent("plain", "alone", "10.0.0.5"),
		podEvent("shop", "gone", "10.0.0.6", func(w *model.Workload) { w.Ended = true }),
		podEvent("shop", "host", "192.168.0.1", func(w *model.Workload) { w.HostNetwork = true }),
		serviceEvent("shop", "web", "10.1.0.1"), sliceEvent("shop", "web", "10.0.0.2 web", "10.0.0.3 api@n2", "10.0.0.4 bare"),
		serviceEvent("shop", "lb", "10.1.0.2", outside("10.9.0.1", "203.0.113.7")), sliceEvent("shop", "lb", "10.0.0.2 web"),
		serviceEvent("plain", "lb", "10.1.0.3", outside("10.9.0.2"), func(s *model.Service) { s.Ports[0].NodePort = 30082 }), sliceEvent("plain", "lb", "10.0.0.4"),
		serviceEvent("shop", "local", "10.1.0.4", func(s *model.Service) { s.Ports[0].NodePort, s.LocalNodePorts = 30083, true }),
		sliceEvent("shop", "local", "10.0.0.3 api@n2"))
	for addr, want := range map[string]string{
		"10.0.0.2:8080":     "pod of shop/web",
		"10.0.0.2:1234":     "pod of shop/web", // that no Service names
		"10.0.0.2:9":        "untouched",       // that the proxy does not serve
		"10.0.0.5:80":       "pod of plain/alone",
		"10.0.0.4:8080":     "untouched",
		"10.0.0.6:80":       "untouched",
		"10.0.0.77:80":      "untouched",
		"10.9.0.1:80":       "mesh shop/lb:80 10.0.0.2:8080",
		"203.0.113.7:80":    "mesh shop/lb:80 10.0.0.2:8080",
		"10.9.0.1:81":       "untouched",
		"10.9.0.2:80":       "untouched", // no pod behind it has a proxy
		"192.168.0.1:30080": "mixed shop/web:80 10.0.0.2:8080 10.0.0.3:8080 10.0.0.4:8080",
		"192.168.0.2:30081": "mesh shop/lb:80 10.0.0.2:8080",
		"192.168.0.2:30083": "mesh shop/local:80 10.0.0.3:8080",
		"192.168.0.1:30083": "untouched", // externalTrafficPolicy Local, and no endpoint on that node
		"192.168.0.1:22":    "untouched",
		"192.168.0.9:30080": "untouched", // no node
		"10.1.0.1:81":       "untouched",
	} {
		if got := c.at(addr); got != "nothing" {
			t.Errorf("%s is made before it is asked for: %s", addr, got)
		}
		c.dial(addr)
		if got := c.at(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
	// They follow the pods, and go when nothing asks for them.
	c.apply(podEvent("shop", "new", "10.0.0.77"), podEvent("shop", "web", "10.0.0.2", func(w *model.Workload) { w.Kind = "" }))
	for addr, want := range map[string]string{
		"10.0.0.77:80": "pod of shop/new", "10.0.0.2:8080": "untouched", "10.9.0.1:80": "untouched",
		"192.168.0.1:30080": "mixed shop/web:80 10.0.0.2:8080 10.0.0.3:8080 10.0.0.4:8080",
	} {
		if got := c.at(addr); got != want {
			t.Errorf("later, %s: %s, want %s", addr, got, want)
		}
	}
	gone := Inputs{Dialled: map[netip.AddrPort]bool{}}
	for a := range c.g.destinations.clusters.All() {
		gone.Dialled[a] = false
	}
	c.take(c.g.Apply(nil, gone))
	for k := range c.all {
		if names.IsDestination(k.Name) || strings.HasPrefix(k.Name, "account/") {
			t.Errorf("%s has stayed", k)
		}
	}
}

// TestDestinationClaims: who may write a Service takes over no address of another namespace by its
// externalIPs: no cluster address, whether its Service has that port or not, no load balancer's, node's or
// pod's, and none that another namespace claims too.
func TestDestinationClaims(t *testing.T) {
	at := func(ips ...string) (out []netip.Addr) {
		for _, ip := range ips {
			out = append(out, netip.MustParseAddr(ip))
		}
		return out
	}
	external := func(ips ...string) func(*model.Service) {
		return func(s *model.Service) { s.External, s.Ports[0].NodePort = at(ips...), 0 }
	}
	balanced := func(ip string) func(*model.Service) {
		return func(s *model.Service) { s.Balanced, s.Ports[0].NodePort = at(ip), 0 }
	}
	c := newCluster(t, namespaceEvent("default", false), namespaceEvent("shop", true), namespaceEvent("tenant", false), namespaceEvent("third", false),
		serviceEvent("default", "kubernetes", "10.96.0.1", func(s *model.Service) { s.Ports[0].Port = 443 }),
		podEvent("shop", "web", "10.0.0.2"), podEvent("shop", "bare", "10.0.0.3", func(w *model.Workload) { w.Kind = "" }),
		podEvent("tenant", "evil", "10.0.0.66"), podEvent("third", "too", "10.0.0.67"),
		serviceEvent("shop", "web", "10.96.0.2", balanced("203.0.113.1")), sliceEvent("shop", "web", "10.0.0.2 web"),
		serviceEvent("shop", "own", "10.96.0.3", external("203.0.113.2")), sliceEvent("shop", "own", "10.0.0.2 web"),
		serviceEvent("shop", "same", "10.96.0.4", external("203.0.113.2")), sliceEvent("shop", "same", "10.0.0.3 bare"),
		serviceEvent("tenant", "x", "10.96.0.5", external("10.96.0.1", "10.96.0.2", "203.0.113.1", "203.0.113.3", "203.0.113.4", "192.168.0.1", "10.0.0.3")),
		sliceEvent("tenant", "x", "10.0.0.66 evil"),
		serviceEvent("tenant", "api", "10.96.0.6", external("10.96.0.1", "10.96.0.2"), func(s *model.Service) { s.Ports[0].Port = 443 }),
		sliceEvent("tenant", "api", "10.0.0.66 evil"),
		serviceEvent("third", "x", "10.96.0.7", external("203.0.113.3")), sliceEvent("third", "x", "10.0.0.67 too"),
		serviceEvent("tenant", "lb", "10.96.0.8", balanced("203.0.113.5")), sliceEvent("tenant", "lb", "10.0.0.66 evil"),
		serviceEvent("third", "lb", "10.96.0.9", balanced("203.0.113.5")), sliceEvent("third", "lb", "10.0.0.67 too"),
		serviceEvent("third", "nodes", "10.96.0.10", balanced("192.168.0.1"), func(s *model.Service) { s.Ports[0].Port = 8443 }), sliceEvent("third", "nodes", "10.0.0.67 too"))
	for addr, want := range map[string]string{
		"10.96.0.1:443":    "untouched", // the API server's
		"10.96.0.2:443":    "untouched",
		"203.0.113.1:80":   "mesh shop/web:80 10.0.0.2:8080",
		"203.0.113.2:80":   "mesh shop/own:80 10.0.0.2:8080", // of two in a namespace the first
		"203.0.113.3:80":   "untouched",                      // of two namespaces neither
		"203.0.113.4:80":   "mesh tenant/x:80 10.0.0.66:8080",
		"203.0.113.5:80":   "untouched",
		"192.168.0.1:80":   "untouched",
		"10.0.0.3:80":      "untouched",
		"192.168.0.1:8443": "mesh third/nodes:8443 10.0.0.67:8080", // as K3s has its load balancers
	} {
		c.dial(addr)
		if got := c.at(addr); got != want {
			t.Errorf("%s: %s, want %s", addr, got, want)
		}
	}
}

// TestOnDemandNetworks: private networks are asked about always, and the cluster's own others one by one.
func TestOnDemandNetworks(t *testing.T) {
	c := newCluster(t, namespaceEvent("shop", true), podEvent("shop", "web", "10.0.0.2"))
	chains := func() (out []string) {
		for _, s := range c.g.scopes.all {
			for name, sc := range s.All() {
				for _, d := range sc.OnDemand {
					out = append(out, name+": "+d.Name+fmt.Sprint(d.Prefixes))
				}
			}
		}
		slices.Sort(out)
		return out
	}
	private := "scope/mesh: on-demand[10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 198.18.0.0/15 fc00::/7]"
	if d := cmp.Diff([]string{private}, chains()); d != "" {
		t.Error(d)
	}
	c.apply(serviceEvent("shop", "lb", "10.1.0.2", func(s *model.Service) { s.Balanced = []netip.Addr{netip.MustParseAddr("203.0.113.7")} }),
		sliceEvent("shop", "lb", "10.0.0.2 web"),
		podEvent("shop", "public", "11.0.0.9", func(w *model.Workload) { w.NodeAddresses = []netip.Addr{netip.MustParseAddr("12.0.0.1")} }))
	if d := cmp.Diff([]string{
		"scope/mesh: on-demand 11.0.0.0/24[11.0.0.0/24]", "scope/mesh: on-demand 12.0.0.0/24[12.0.0.0/24]",
		"scope/mesh: on-demand 203.0.113.0/24[203.0.113.0/24]", private,
	}, chains()); d != "" {
		t.Error(d)
	}
}

// TestWorkOfPods is the promise of cost for 50,000 pods: that one comes costs the same functions whatever
// their number, and nothing for destinations but those that are asked for.
func TestWorkOfPods(t *testing.T) {
	measure := func(pods int) (map[string]int, map[string]int) {
		events := []source.Event{namespaceEvent("shop", true)}
		for n := range pods {
			node := n % 100
			events = append(events, podEvent("shop", fmt.Sprintf("p%05d", n), netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}).String(), func(w *model.Workload) {
				w.ServiceAccount, w.Node = "web", fmt.Sprint(node)
				w.NodeAddresses = []netip.Addr{netip.AddrFrom4([4]byte{192, 168, 1, byte(node)})}
			}))
		}
		c := newCluster(t, events...)
		c.dial("10.0.0.1:80", "10.200.0.1:80", "192.168.1.1:30080")
		c.apply(podEvent("shop", "new", "10.200.0.2", func(w *model.Workload) {
			w.Node, w.NodeAddresses = "1", []netip.Addr{netip.AddrFrom4([4]byte{192, 168, 1, 1})}
		}))
		other := c.g.Evals()
		c.apply(podEvent("shop", "newer", "10.200.0.1"))
		if got := c.at("10.200.0.1:80"); got != "pod of shop/newer" {
			t.Errorf("the address is %s", got)
		}
		return other, c.g.Evals()
	}
	fewOther, few := measure(500)
	manyOther, many := measure(50000)
	if d := cmp.Diff(fewOther, manyOther); d != "" {
		t.Errorf("a pod that is not asked for, among 500 (-) and 50,000 (+):\n%s", d)
	}
	if d := cmp.Diff(few, many); d != "" {
		t.Errorf("a pod that is asked for, among 500 (-) and 50,000 (+):\n%s", d)
	}
	if n := fewOther["destinations"]; n != 0 {
		t.Errorf("a pod that is not asked for costs %d destinations", n)
	}
	if n := few["destinations"]; n != 1 {
		t.Errorf("a pod that is asked for costs %d destinations, want 1", n)
	}
	t.Logf("%v %v", manyOther, many)
}
