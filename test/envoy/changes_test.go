// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/pipeline"
	"tulle.dev/tulle/internal/controlplane/rights"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/names"
)

// change is one change of the cluster, on top of those before it.
type change struct {
	name   string
	events []source.Event
	more   pipeline.Inputs
	// sidecar and edge are what becomes of listeners in the Envoy of the pod and of the Gateway. A listener
	// that is replaced or removed, and a filter chain that is, ends its connections.
	sidecar, edge counts
	// see checks that new connections and requests follow the change; nil: nothing is to be seen.
	see func() error
}

// counts are listeners added, replaced and removed.
type counts struct{ added, replaced, removed int }

func (r *relayed) counts(t *testing.T) counts {
	t.Helper()
	in := func(what string) int { return r.stat(t, "^listener_manager."+what+"$") }
	return counts{in("listener_added"), in("listener_modified") - in("listener_in_place_updated"), in("listener_removed")}
}

func (a counts) since(b counts) counts {
	return counts{a.added - b.added, a.replaced - b.replaced, a.removed - b.removed}
}

// drained waits until neither listeners nor filter chains drain any more: whatever was to end has then ended.
func (r *relayed) drained(t *testing.T) {
	t.Helper()
	eventually(t, 10*time.Second, func() error {
		n := r.stat(t, "listener_manager.total_filter_chains_draining") + r.stat(t, "listener_manager.total_listeners_draining")
		if n == 0 {
			return nil
		}
		return fmt.Errorf("%d still drain", n)
	})
}

// route reads a route of a namespace from the JSON of its spec.
func route[T any](t *testing.T, kind source.Kind, namespace, name, spec string) source.Event {
	t.Helper()
	o := new(T)
	// The same spec has the same generation, another one most likely another.
	generation := crc32.ChecksumIEEE([]byte(spec))
	meta := fmt.Sprintf(`{"metadata":{"namespace":%q,"name":%q,"uid":"%s-%s-%s","generation":%d},"spec":`, namespace, name, kind, namespace, name, generation)
	if err := json.Unmarshal([]byte(meta+spec+"}"), o); err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	return object(kind, namespace, name, o)
}

// Routes of namespaces to a Service's port, which add x-by to the answers.
func onService(service string, port int) string {
	return fmt.Sprintf(`{"group":"","kind":"Service","namespace":"shop","name":%q,"port":%d}`, service, port)
}

func onGateway(section string) string {
	return fmt.Sprintf(`{"name":"public","sectionName":%q}`, section)
}

func httpRoute(t *testing.T, namespace, name, parent, backend string) source.Event {
	t.Helper()
	return route[gwapiv1.HTTPRoute](t, "HTTPRoute", namespace, name, fmt.Sprintf(
		`{"parentRefs":[%s],"rules":[{"filters":[{"type":"ResponseHeaderModifier","responseHeaderModifier":{"set":[{"name":"x-by","value":%q}]}}],"backendRefs":[%s]}]}`,
		parent, namespace+"/"+name, backend))
}

func tcpRoute(t *testing.T, namespace, name, parent string, backends ...string) source.Event {
	t.Helper()
	return route[gwapiv1.TCPRoute](t, "TCPRoute", namespace, name, fmt.Sprintf(`{"parentRefs":[%s],"rules":[{"backendRefs":[%s]}]}`, parent, strings.Join(backends, ",")))
}

func tlsRoute(t *testing.T, name, parent, backend string, hosts ...string) source.Event {
	t.Helper()
	return route[gwapiv1.TLSRoute](t, "TLSRoute", "shop", name, fmt.Sprintf(
		`{"parentRefs":[%s],"hostnames":["%s"],"rules":[{"backendRefs":[%s]}]}`, parent, strings.Join(hosts, `","`), backend))
}

func to(service string, port, weight int) string {
	return fmt.Sprintf(`{"name":%q,"namespace":"shop","port":%d,"weight":%d}`, service, port, weight)
}

func gone(e source.Event) source.Event {
	e.Object = nil
	return e
}

// serviceOf is a Service of namespace shop.
func serviceOf(name, vip string, edit func(*model.Service), ports ...model.ServicePort) source.Event {
	s := model.Service{Key: model.Key{Namespace: "shop", Name: name}, VIPs: []netip.Addr{netip.MustParseAddr(vip)}, Ports: ports}
	if edit != nil {
		edit(&s)
	}
	return object(source.Service, "shop", name, s)
}

// endpointsOf are the endpoints of a Service: the application at one port of one address, on a node.
func endpointsOf(name, port string, at ...uint16) source.Event {
	s := model.Slice{Key: model.Key{Namespace: "shop", Name: name + "-" + port}, Service: model.Key{Namespace: "shop", Name: name}}
	for _, p := range at {
		s.Ports = []model.SlicePort{{Name: port, Port: p}}
		s.Endpoints = []model.SliceEndpoint{{Addr: netip.MustParseAddr("198.18.9.20"), Node: "n1", Ready: true, Serving: true}}
	}
	return object(source.EndpointSlice, "shop", s.Name, s)
}

// gatewayOf is the Gateway with listeners in JSON.
func gatewayOf(t *testing.T, listeners ...string) source.Event {
	t.Helper()
	return route[gwapiv1.Gateway](t, source.Gateway, "shop", "public", `{"gatewayClassName":"tulle","listeners":[`+strings.Join(listeners, ",")+`]}`)
}

func listenerOf(name string, port int, protocol, more string) string {
	return fmt.Sprintf(`{"name":%q,"port":%d,"protocol":%q,"allowedRoutes":{"namespaces":{"from":"All"}}%s}`, name, port, protocol, more)
}

// secure is an HTTPS listener with a certificate.
func secure(name, certificate string) string {
	return listenerOf(name, 443, "HTTPS", fmt.Sprintf(`,"hostname":"%s.example.com","tls":{"certificateRefs":[{"name":%q}]}`, name, certificate))
}

// scene is a pod of namespace team, a Gateway, the applications behind them, and connections that are held.
type scene struct {
	*plane
	t             *testing.T
	pod, edge     *relayed
	client, world *netns
	held          []standing
	web, plain    *kept // for requests one after the other: through the pod's proxy, and the Gateway
}

const (
	webIP, dbIP, grpcIP = "198.18.20.1", "198.18.20.2", "198.18.20.3"
	gatewayIP           = "198.18.9.3"
)

func (s *scene) services() []source.Event {
	return []source.Event{
		serviceOf("web", webIP, nil, model.ServicePort{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}),
		serviceOf("db", dbIP, nil, model.ServicePort{Name: "db", Port: 5432, Protocol: model.TCP}),
		serviceOf("grpc", grpcIP, nil, model.ServicePort{Name: "grpc", Port: 50, Protocol: model.GRPC, Declared: true}),
		serviceOf("other", "198.18.20.4", nil, model.ServicePort{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}, model.ServicePort{Name: "db", Port: 5432, Protocol: model.TCP}),
		endpointsOf("web", "http", 8001), endpointsOf("db", "db", 8002), endpointsOf("grpc", "grpc", 8001), endpointsOf("other", "http", 8003), endpointsOf("other", "db", 8004),
	}
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{plane: newPlane(t), t: t}
	apps := s.wire.plug(t, "198.18.9.20", false)
	echoer("web").serve(t, apps.listen(t, ":8001"))
	echoer("other").serve(t, apps.listen(t, ":8003"))
	banner(t, apps.listen(t, ":8002"), "db")
	banner(t, apps.listen(t, ":8004"), "other")
	s.client = s.wire.plug(t, "198.18.9.2", true)
	s.world = s.wire.plug(t, "198.18.9.30", false)
	gateway := s.wire.plug(t, gatewayIP, false)
	if err := gateway.in(func() error { return os.WriteFile("/proc/sys/net/ipv4/ip_unprivileged_port_start", []byte("0"), 0) }); err != nil {
		t.Fatal(err)
	}
	roots := s.pki.roots()
	s.set(t, pipeline.Inputs{Settings: &model.Settings{TrustDomain: trustDomain, Version: "0.3.0"}, Roots: &roots}, append(s.services(),
		object(source.Namespace, "", "shop", model.Namespace{Name: "shop", Meshed: true}),
		object(source.Namespace, "", "team", model.Namespace{Name: "team", Meshed: true}),
		s.podIs(nil),
		object(source.GatewayClass, "", "tulle", &gwapiv1.GatewayClass{
			ObjectMeta: metav1.ObjectMeta{Name: "tulle", UID: types.UID("class"), Generation: 1}, Spec: gwapiv1.GatewayClassSpec{ControllerName: names.ControllerName},
		}),
		s.certificate("one"), s.certificate("two"),
		gatewayOf(t, s.listeners()...),
		httpRoute(t, "shop", "edge", onGateway("http")+","+onGateway("a"), to("web", 80, 1)),
		tcpRoute(t, "shop", "edge", onGateway("tcp"), to("db", 5432, 1)),
		tlsRoute(t, "edge", onGateway("tls"), to("secret", 443, 1), "pass.example.com"),
		serviceOf("secret", "198.18.20.5", nil, model.ServicePort{Name: "tls", Port: 443, Protocol: model.TCP}), endpointsOf("secret", "tls", 8005),
	)...)
	own := s.pki.leaf(t, "", "pass.example.com")
	banner(t, tls12(t, apps.listen(t, ":8005"), own), "secret")
	s.pod = s.proxy(t, s.client, "client", names.ScopeSidecar("team", "client"), "spiffe://cluster.local/ns/team/sa/client",
		rights.Proxy{Namespace: "team", Pod: "client", Kind: names.KindSidecar, Node: "n1"})
	s.edge = s.proxy(t, gateway, "edge", names.ScopeGateway("shop", "public"), "spiffe://cluster.local/ns/shop/sa/public",
		rights.Proxy{Namespace: "shop", Pod: "public-1", Kind: names.KindGateway, Gateway: "public", Node: "n1"})
	s.settle(t, true, s.pod, s.edge)

	in := func(addr string) dialer { return dialer{ns: s.client, addr: addr} }
	out := func(port, name string) dialer { return dialer{s.world, gatewayIP + ":" + port, name} }
	idle, web := in(webIP+":80").idle(t, "requests, one after the other")
	edge, plain := out("80", "").idle(t, "requests to the Gateway")
	s.web, s.plain = web, plain
	s.held = []standing{
		idle, edge,
		in(dbIP+":5432").tcp(t, "TCP"),
		in(webIP+":80").websocket(t, "WebSocket"),
		in(webIP+":80").answer(t, "streamed answer"),
		in(grpcIP+":50").stream(t, "gRPC"),
		out("80", "").websocket(t, "WebSocket through the Gateway"),
		out("80", "").answer(t, "streamed answer through the Gateway"),
		out("443", "a.example.com").stream(t, "gRPC through the Gateway"),
		out("443", "a.example.com").websocket(t, "WebSocket in TLS through the Gateway"),
		out("9000", "").tcp(t, "TCP through the Gateway"),
		out("8443", "pass.example.com").tcp(t, "TLS passed through the Gateway"),
	}
	return s
}

func (s *scene) listeners() []string {
	return []string{
		listenerOf("http", 80, "HTTP", ""), secure("a", "one"), listenerOf("tcp", 9000, "TCP", ""),
		listenerOf("tls", 8443, "TLS", `,"tls":{"mode":"Passthrough"}`),
	}
}

// podIs is the pod, with what its annotations say.
func (s *scene) podIs(edit func(*model.Workload)) source.Event {
	w := model.Workload{
		Key: model.Key{Namespace: "team", Name: "client"}, UID: "client", Addresses: []netip.Addr{netip.MustParseAddr("198.18.9.2")}, Node: "n1",
		ServiceAccount: "client", Kind: names.KindSidecar, Ready: true,
	}
	if edit != nil {
		edit(&w)
	}
	return object(source.Pod, "team", "client", w)
}

func (s *scene) certificate(name string) source.Event {
	l := s.pki.leaf(s.t, "", "*.example.com")
	return object(source.TLSSecret, "shop", name, source.TLS{TLSSecret: model.TLSSecret{
		Key: model.Key{Namespace: "shop", Name: name}, Certificate: l.chain, PrivateKey: model.Redacted(l.key),
	}, Ends: time.Now().Add(time.Hour)})
}

// by asks on a connection that stands which route it follows and which application answers.
func by(k *kept, route, app string) func() error {
	return func() error {
		_ = k.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := fmt.Fprintf(k, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", k.host); err != nil {
			return err
		}
		resp, err := http.ReadResponse(k.in, nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if got := resp.Header.Get("X-By"); got != route || resp.Header.Get("X-App") != app {
			return fmt.Errorf("the request followed route %q to %q, not %q to %q", got, resp.Header.Get("X-App"), route, app)
		}
		return nil
	}
}

// greets connects anew and wants a greeting: with a server that speaks first.
func (s *scene) greets(d dialer, app string) func() error {
	return func() error {
		c, err := d.dial(s.t.Context())
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		b := make([]byte, 100)
		n, err := c.Read(b)
		if err == nil && !strings.Contains(string(b[:n]), " "+app) {
			err = fmt.Errorf("%q answers, not %q", b[:n], app)
		}
		return err
	}
}

// speaksHTTP connects anew and wants an answer from a proxy, whatever its status.
func (s *scene) speaksHTTP(addr string) func() error {
	return func() error {
		c, err := s.client.dial(s.t.Context(), "tcp4", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(2 * time.Second))
		b := make([]byte, 100)
		if _, err := fmt.Fprintf(c, "NONSENSE\r\n\r\n"); err != nil {
			return err
		}
		n, err := c.Read(b)
		if err == nil && !strings.HasPrefix(string(b[:n]), "HTTP/1.1 400") {
			err = fmt.Errorf("answered with %q", b[:n])
		}
		return err
	}
}

// TestStandingConnections: no change ends a connection that it still allows, and new connections and
// requests follow it.
func TestStandingConnections(t *testing.T) {
	s := newScene(t)
	check := func(when string) {
		t.Helper()
		for _, h := range s.held {
			if err := h.exchange(); err != nil {
				t.Fatalf("%s: %s: %v", when, h.name, err)
			}
		}
	}
	check("at the beginning")
	for _, c := range s.changes() {
		before := map[*relayed]counts{s.pod: s.pod.counts(t), s.edge: s.edge.counts(t)}
		s.set(t, c.more, c.events...)
		s.settle(t, false, s.pod, s.edge)
		if c.see != nil {
			eventually(t, 5*time.Second, func() error {
				if err := c.see(); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
				return nil
			})
		}
		for r, want := range map[*relayed]counts{s.pod: c.sidecar, s.edge: c.edge} {
			eventually(t, 5*time.Second, func() error {
				if got := r.counts(t).since(before[r]); got != want {
					return fmt.Errorf("%s: listeners of %s: %+v, want %+v", c.name, r.node, got, want)
				}
				return nil
			})
			r.drained(t)
		}
		check(c.name)
	}
	s.settle(t, true, s.pod, s.edge)
	check("at the end")
}
