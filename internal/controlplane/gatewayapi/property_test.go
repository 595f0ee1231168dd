// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// TestProperties makes random clusters, valid and not, from few names so that they meet often, and
// checks what is true of every cluster, that the order of the input does not show, and that each
// request meets the rule that Gateway API's precedence gives it.
func TestProperties(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	accepted, routed := 0, 0
	for i := range uint64(400) {
		g := generator{rand.New(rand.NewPCG(seed, i))}
		w := g.world()
		out, told := w.evaluate()
		check(t, w, out, told)
		o, v := w.shuffled(i).evaluate()
		if d := cmp.Diff(string(render(t, []any{out, told})), string(render(t, []any{o, v}))); d != "" {
			t.Errorf("the order of the input shows:\n%s", d)
		}
		for _, r := range told.Routes {
			for _, p := range r.Parents {
				accepted += len(p.Tables)
			}
		}
		for range 20 {
			routed += precedence(t, w, out, g.request())
		}
		if t.Failed() {
			t.Fatalf("seed %d, cluster %d", seed, i)
		}
	}
	if accepted < 200 || routed < 200 {
		t.Errorf("too little happened: %d tables with routes, %d requests that met a rule (seed %d)", accepted, routed, seed)
	}
}

type generator struct{ *rand.Rand }

func pick[T any](g generator, of ...T) T { return of[g.IntN(len(of))] }

func maybe[T any](g generator, of ...T) *T {
	if g.IntN(2) == 0 {
		return nil
	}
	v := pick(g, of...)
	return &v
}

func (g generator) world() *world {
	w := &world{asked: map[string]bool{}}
	for _, ns := range []string{"a", "b"} {
		w.namespaces = append(w.namespaces, model.Namespace{Name: ns, Meshed: ns == "a" || g.IntN(4) > 0, Labels: []model.Label{{Name: "team", Value: ns}}})
		for _, name := range []string{"x", "y"} {
			s := model.Service{Key: model.Key{Namespace: ns, Name: name}, Headless: g.IntN(8) == 0, LocalTraffic: g.IntN(4) == 0}
			for i, port := range []uint16{80, 81, 82} {
				p := model.ServicePort{Name: fmt.Sprintf("p%d", i), Port: port, Protocol: model.HTTP, Declared: true}
				if g.IntN(3) == 0 {
					p.Protocol, p.Declared = pick(g, model.TCP, model.TCP, model.GRPC, model.UDP), g.IntN(2) == 0
				}
				s.Ports = append(s.Ports, p)
			}
			w.services = append(w.services, s)
		}
	}
	w.classes = []*gwapiv1.GatewayClass{{ObjectMeta: metav1.ObjectMeta{Name: "tulle"}, Spec: gwapiv1.GatewayClassSpec{ControllerName: names.ControllerName}}}
	w.gateways = []*gwapiv1.Gateway{g.gateway()}
	for i := range 1 + g.IntN(5) {
		w.addObject(&gwapiv1.HTTPRoute{ObjectMeta: g.meta("h", i), Spec: gwapiv1.HTTPRouteSpec{CommonRouteSpec: g.common(), Hostnames: g.hostnames(), Rules: g.rules()}})
	}
	for i := range g.IntN(3) {
		w.addObject(&gwapiv1.GRPCRoute{ObjectMeta: g.meta("g", i), Spec: gwapiv1.GRPCRouteSpec{CommonRouteSpec: g.common(), Hostnames: g.hostnames(), Rules: []gwapiv1.GRPCRouteRule{{
			BackendRefs: []gwapiv1.GRPCBackendRef{{BackendRef: gwapiv1.BackendRef{BackendObjectReference: g.ref()}}},
		}}}})
	}
	for i := range g.IntN(4) {
		w.addObject(&gwapiv1.TLSRoute{ObjectMeta: g.meta("s", i), Spec: gwapiv1.TLSRouteSpec{
			CommonRouteSpec: g.common(), Hostnames: g.hostnames(), Rules: []gwapiv1.TLSRouteRule{{BackendRefs: g.refs()}},
		}})
	}
	for i := range g.IntN(3) {
		w.addObject(&gwapiv1.TCPRoute{ObjectMeta: g.meta("t", i), Spec: gwapiv1.TCPRouteSpec{CommonRouteSpec: g.common(), Rules: []gwapiv1.TCPRouteRule{{BackendRefs: g.refs()}}}})
		w.addObject(&gwapiv1.UDPRoute{ObjectMeta: g.meta("u", i), Spec: gwapiv1.UDPRouteSpec{CommonRouteSpec: g.common(), Rules: []gwapiv1.UDPRouteRule{{BackendRefs: g.refs()}}}})
	}
	if g.IntN(2) == 0 {
		w.grants = append(w.grants, &gwapiv1.ReferenceGrant{ObjectMeta: metav1.ObjectMeta{Namespace: "b", Name: "g"}, Spec: gwapiv1.ReferenceGrantSpec{
			From: []gwapiv1.ReferenceGrantFrom{{Group: gwapiv1.GroupName, Kind: "HTTPRoute", Namespace: "a"}},
			To:   []gwapiv1.ReferenceGrantTo{{Kind: "Service", Name: maybe[gwapiv1.ObjectName](g, "x", "y")}},
		}})
	}
	return w
}

func (g generator) gateway() *gwapiv1.Gateway {
	gw := &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "edge"}, Spec: gwapiv1.GatewaySpec{GatewayClassName: "tulle"}}
	for i := range 1 + g.IntN(4) {
		from := pick(g, gwapiv1.NamespacesFromAll, gwapiv1.NamespacesFromAll, gwapiv1.NamespacesFromSame, gwapiv1.NamespacesFromSelector)
		mode := pick(g, gwapiv1.TLSModePassthrough, gwapiv1.TLSModePassthrough, gwapiv1.TLSModeTerminate)
		gw.Spec.Listeners = append(gw.Spec.Listeners, gwapiv1.Listener{
			Name: gwapiv1.SectionName(fmt.Sprintf("l%d", i)), Port: pick[int32](g, 80, 80, 8080, 8080, 443, 15021), Hostname: maybe[gwapiv1.Hostname](g, "*.a.com", "x.a.com", "*.x.a.com"),
			Protocol:      pick(g, gwapiv1.HTTPProtocolType, gwapiv1.HTTPProtocolType, gwapiv1.HTTPProtocolType, gwapiv1.HTTPSProtocolType, gwapiv1.TLSProtocolType, gwapiv1.TLSProtocolType, gwapiv1.TCPProtocolType, gwapiv1.UDPProtocolType),
			TLS:           &gwapiv1.ListenerTLSConfig{Mode: &mode},
			AllowedRoutes: &gwapiv1.AllowedRoutes{Namespaces: &gwapiv1.RouteNamespaces{From: &from, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "b"}}}},
		})
	}
	return gw
}

func (g generator) meta(kind string, i int) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: pick(g, "a", "b"), Name: fmt.Sprintf("%s%d", kind, i), Generation: 1,
		CreationTimestamp: metav1.NewTime(time.Unix(int64(g.IntN(2)), 0)),
	}
}

func (g generator) common() gwapiv1.CommonRouteSpec {
	var out gwapiv1.CommonRouteSpec
	core, kind := gwapiv1.Group(""), gwapiv1.Kind("Service")
	for range 1 + g.IntN(2) {
		ref := gwapiv1.ParentReference{Name: "edge", Namespace: maybe[gwapiv1.Namespace](g, "a"), SectionName: maybe[gwapiv1.SectionName](g, "l0", "l1")}
		if g.IntN(2) == 0 {
			ref = gwapiv1.ParentReference{
				Group: &core, Kind: &kind, Name: pick[gwapiv1.ObjectName](g, "x", "y", "z"), Namespace: maybe[gwapiv1.Namespace](g, "a", "b"),
				Port: maybe[int32](g, 80, 81, 82, 83),
			}
		}
		out.ParentRefs = append(out.ParentRefs, ref)
	}
	return out
}

func (g generator) hostnames() []gwapiv1.Hostname {
	var out []gwapiv1.Hostname
	for range g.IntN(3) {
		out = append(out, pick[gwapiv1.Hostname](g, "x.a.com", "y.a.com", "*.a.com", "*.x.a.com", "z.x.a.com", "b.com"))
	}
	return out
}

func (g generator) ref() gwapiv1.BackendObjectReference {
	port := pick[int32](g, 80, 81, 82, 99)
	return gwapiv1.BackendObjectReference{Name: pick[gwapiv1.ObjectName](g, "x", "y", "nobody"), Namespace: maybe[gwapiv1.Namespace](g, "a", "b"), Port: &port}
}

func (g generator) refs() []gwapiv1.BackendRef {
	var out []gwapiv1.BackendRef
	for range g.IntN(4) {
		out = append(out, gwapiv1.BackendRef{BackendObjectReference: g.ref(), Weight: maybe[int32](g, 0, 1, 10)})
	}
	return out
}

func (g generator) rules() []gwapiv1.HTTPRouteRule {
	var out []gwapiv1.HTTPRouteRule
	for i := range g.IntN(4) {
		name := gwapiv1.SectionName(fmt.Sprintf("r%d", i))
		r := gwapiv1.HTTPRouteRule{Name: &name}
		for range g.IntN(3) {
			r.Matches = append(r.Matches, g.match())
		}
		for range g.IntN(3) {
			r.BackendRefs = append(r.BackendRefs, gwapiv1.HTTPBackendRef{BackendRef: gwapiv1.BackendRef{BackendObjectReference: g.ref(), Weight: maybe[int32](g, 0, 1, 10)}})
		}
		switch g.IntN(8) {
		case 0:
			r.Filters = append(r.Filters, gwapiv1.HTTPRouteFilter{Type: gwapiv1.HTTPRouteFilterCORS})
		case 1:
			r.Filters = append(r.Filters, gwapiv1.HTTPRouteFilter{Type: gwapiv1.HTTPRouteFilterRequestMirror, RequestMirror: &gwapiv1.HTTPRequestMirrorFilter{BackendRef: g.ref(), Percent: maybe[int32](g, 0, 50, 200)}})
		case 2:
			r.Filters = append(r.Filters, gwapiv1.HTTPRouteFilter{Type: gwapiv1.HTTPRouteFilterRequestRedirect, RequestRedirect: &gwapiv1.HTTPRequestRedirectFilter{Scheme: maybe(g, "https", "ftp")}})
		case 3:
			to := pick(g, "/", "", "/n", "n n")
			r.Filters = append(r.Filters, gwapiv1.HTTPRouteFilter{Type: gwapiv1.HTTPRouteFilterURLRewrite, URLRewrite: &gwapiv1.HTTPURLRewriteFilter{Path: &gwapiv1.HTTPPathModifier{Type: gwapiv1.PrefixMatchHTTPPathModifier, ReplacePrefixMatch: &to}}})
		}
		out = append(out, r)
	}
	return out
}

func (g generator) match() gwapiv1.HTTPRouteMatch {
	m := gwapiv1.HTTPRouteMatch{Method: maybe(g, gwapiv1.HTTPMethodGet, gwapiv1.HTTPMethodPost)}
	if g.IntN(4) > 0 {
		m.Path = &gwapiv1.HTTPPathMatch{Type: pick(g, (*gwapiv1.PathMatchType)(nil), ptr(gwapiv1.PathMatchExact), ptr(gwapiv1.PathMatchPathPrefix)), Value: maybe(g, "/", "/p", "/p/", "/p/q", "/p/q/r", "no")}
	}
	for range g.IntN(3) {
		m.Headers = append(m.Headers, gwapiv1.HTTPHeaderMatch{Name: pick[gwapiv1.HTTPHeaderName](g, "H1", "h2", "h1"), Value: pick(g, "1", "2")})
	}
	for range g.IntN(2) {
		m.QueryParams = append(m.QueryParams, gwapiv1.HTTPQueryParamMatch{Name: "q", Value: "1"})
	}
	return m
}

func ptr[T any](v T) *T { return &v }

// request is what a client may send.
type request struct {
	path, method, query string
	headers             map[string]string
}

func (g generator) request() request {
	return request{pick(g, "/", "/p", "/p/q", "/p/q/r", "/pq", "/z"), pick(g, "GET", "POST"), pick(g, "", "1"), map[string]string{"h1": pick(g, "", "1", "2"), "h2": pick(g, "", "1", "2")}}
}

// precedence compares the first rule of each mesh table that fits a request with the one that
// Gateway API's words (HTTPRouteRule.matches) choose of all rules that fit. It returns how many were compared.
func precedence(t *testing.T, w *world, out output, q request) int {
	t.Helper()
	n := 0
	for _, f := range out.Frontends {
		if f.Table == nil {
			continue
		}
		var first, best *model.Rule
		for i := range f.Table.Hosts[0].Rules {
			r := &f.Table.Hosts[0].Rules[i]
			if r.Source.Kind != "HTTPRoute" || !fits(r.Match, q) {
				continue
			}
			if first == nil {
				first = r
			}
			if best == nil || beats(w, *r, *best) {
				best = r
			}
		}
		if first != nil {
			n++
			if first != best {
				t.Errorf("%s: %+v meets %+v, by precedence %+v", f.Table.Name, q, *first, *best)
			}
		}
	}
	return n
}

func fits(m model.Match, q request) bool {
	switch p := m.Path; p.Kind {
	case model.PathExact:
		if q.path != p.Value {
			return false
		}
	case model.PathPrefix:
		if q.path != p.Value && !strings.HasPrefix(q.path, p.Value+"/") {
			return false
		}
	}
	for _, h := range m.Headers {
		if q.headers[h.Name] != h.Value {
			return false
		}
	}
	for _, p := range m.Query {
		if q.query != p.Value {
			return false
		}
	}
	return m.Method == "" || m.Method == q.method
}

// beats tells whether a comes strictly before b.
func beats(w *world, a, b model.Rule) bool {
	if x, y := a.Match.Path.Kind == model.PathExact, b.Match.Path.Kind == model.PathExact; x != y {
		return x
	}
	if x, y := len(a.Match.Path.Value), len(b.Match.Path.Value); x != y {
		return x > y
	}
	if x, y := a.Match.Method != "", b.Match.Method != ""; x != y {
		return x
	}
	if x, y := len(a.Match.Headers), len(b.Match.Headers); x != y {
		return x > y
	}
	if x, y := len(a.Match.Query), len(b.Match.Query); x != y {
		return x > y
	}
	if x, y := w.created(a.Source), w.created(b.Source); !x.Equal(y) {
		return x.Before(y)
	}
	if x, y := a.Source.Namespace+"/"+a.Source.Name, b.Source.Namespace+"/"+b.Source.Name; x != y {
		return x < y
	}
	return a.Name < b.Name // the generator names rules in their order
}

func (w *world) created(o model.Object) time.Time {
	return w.ages[o]
}
