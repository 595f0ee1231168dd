// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"maps"
	"net/netip"
	"slices"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
)

// TestReferencesComeAndGo: what a route refers to goes and comes back, and each time the route's status
// and its table follow, at once and for no other reason. The revocation of a ReferenceGrant takes
// effect (https://gateway-api.sigs.k8s.io/reference/api-types/referencegrant/), and a backend that does
// not exist is answered for with 500 (https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#httprouterule).
func TestReferencesComeAndGo(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	w := &world{}
	web, api := model.Key{Namespace: "b", Name: "web"}, model.Key{Namespace: "a", Name: "api"}
	put := func(kind source.Kind, key model.Key, object any) source.Event {
		return source.Event{Kind: kind, Key: key, Object: object}
	}
	service := func(k model.Key, ports ...uint16) source.Event {
		s := model.Service{Key: k, VIPs: []netip.Addr{netip.MustParseAddr("10.1.0." + map[string]string{"web": "1", "api": "2"}[k.Name])}}
		for _, p := range ports {
			s.Ports = append(s.Ports, model.ServicePort{Name: "http", Port: p, Protocol: model.HTTP, Declared: true})
		}
		return put(source.Service, k, s)
	}
	slice := func(ready bool) source.Event {
		k := model.Key{Namespace: "b", Name: "web-1"}
		return put(source.EndpointSlice, k, model.Slice{Key: k, Service: web, Ports: []model.SlicePort{{Name: "http", Port: 8080}}, Endpoints: []model.SliceEndpoint{
			{Addr: netip.MustParseAddr("10.0.0.1"), Ready: ready, Serving: ready},
		}})
	}
	grantKey := model.Key{Namespace: "b", Name: "g"}
	grant := put(source.ReferenceGrant, grantKey, &gwapiv1.ReferenceGrant{ObjectMeta: w.meta(grantKey), Spec: gwapiv1.ReferenceGrantSpec{
		From: []gwapiv1.ReferenceGrantFrom{{Group: gwapiv1.GroupName, Kind: gatewayapi.KindHTTPRoute, Namespace: "a"}},
		To:   []gwapiv1.ReferenceGrantTo{{Kind: gatewayapi.KindService}},
	}})
	gone := func(e source.Event) source.Event { e.Object = nil; return e }

	id := model.Object{Kind: gatewayapi.KindHTTPRoute, Namespace: "a", Name: "r"}
	route, other := &gwapiv1.HTTPRoute{ObjectMeta: w.meta(model.Key{Namespace: "a", Name: "r"})}, &gwapiv1.HTTPRoute{ObjectMeta: w.meta(model.Key{Namespace: "a", Name: "other"})}
	route.Spec.ParentRefs = []gwapiv1.ParentReference{{Name: "gw"}}
	route.Spec.Rules = []gwapiv1.HTTPRouteRule{{BackendRefs: []gwapiv1.HTTPBackendRef{{BackendRef: to(web)}}}}
	core, kind := gwapiv1.Group(""), gwapiv1.Kind(gatewayapi.KindService)
	other.Spec.ParentRefs = []gwapiv1.ParentReference{{Group: &core, Kind: &kind, Name: "api"}}
	other.Spec.Rules = []gwapiv1.HTTPRouteRule{{BackendRefs: []gwapiv1.HTTPBackendRef{{BackendRef: to(api)}}}}
	gwKey := model.Key{Namespace: "a", Name: "gw"}
	gateway := &gwapiv1.Gateway{ObjectMeta: w.meta(gwKey), Spec: gwapiv1.GatewaySpec{
		GatewayClassName: "tulle", Listeners: []gwapiv1.Listener{{Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType}},
	}}
	g.Apply([]source.Event{
		class(),
		put(source.Namespace, model.Key{Name: "a"}, model.Namespace{Name: "a", Meshed: true}), put(source.Namespace, model.Key{Name: "b"}, model.Namespace{Name: "b", Meshed: true}),
		service(web, 80), service(api, 80), slice(true), grant, put(source.Gateway, gwKey, gateway),
		put("HTTPRoute", model.Key{Namespace: "a", Name: "r"}, route), put("HTTPRoute", model.Key{Namespace: "a", Name: "other"}, other),
	}, testSettings())

	const good = string(gwapiv1.RouteReasonResolvedRefs)
	for _, step := range []struct {
		what   string
		event  source.Event
		reason string // of ResolvedRefs afterwards
		same   bool   // the part does not change
	}{
		{"an endpoint is not ready any more", slice(false), good, true},
		{"an endpoint is ready again", slice(true), good, true},
		{"the grant is revoked", gone(grant), string(gwapiv1.RouteReasonRefNotPermitted), false},
		{"the grant is given again", grant, good, false},
		{"the Service loses the port", service(web, 81), string(gwapiv1.RouteReasonBackendNotFound), false},
		{"the Service has the port again", service(web, 80), good, false},
		{"the Service gets another port", service(web, 80, 81), good, true},
		{"the Service is deleted", gone(service(web)), string(gwapiv1.RouteReasonBackendNotFound), false},
		{"the grant is revoked meanwhile", gone(grant), string(gwapiv1.RouteReasonRefNotPermitted), true},
		{"the Service is back, but not the grant", service(web, 80), string(gwapiv1.RouteReasonRefNotPermitted), true},
		{"all is back", grant, good, false},
	} {
		r := g.Apply([]source.Event{step.event}, Inputs{})
		v := maps.Collect(g.verdicts.routes.All())[id]
		c := apimeta.FindStatusCondition(v.Parents[0].Conditions, string(gwapiv1.RouteConditionResolvedRefs))
		if c.Reason != step.reason || (c.Status == metav1.ConditionTrue) != (step.reason == good) {
			t.Errorf("%s: %+v, want %s", step.what, c, step.reason)
		}
		part := partOf{"gw/a/gw/80", id}
		rule := maps.Collect(g.gateways.parts.All())[part].Rules[0].Rule
		if served := len(rule.Backends) == 1; served != (step.reason == good) {
			t.Errorf("%s: the rule's backends are %v", step.what, rule.Backends)
		}
		var changed []string
		for _, ch := range r.Resources {
			if ch.Resource.Key.TypeURL == envoy.RoutePartType {
				changed = append(changed, ch.Resource.Key.Name)
			}
		}
		want := []string{part.name()}
		if step.same {
			want = nil
		}
		if !slices.Equal(changed, want) {
			t.Errorf("%s: parts %v have changed, want %v", step.what, changed, want)
		}
		for _, ch := range r.Routes {
			if ch.Key != id {
				t.Errorf("%s: the verdict on %v has changed", step.what, ch.Key)
			}
		}
	}
}

func to(k model.Key) gwapiv1.BackendRef {
	ns, port := gwapiv1.Namespace(k.Namespace), gwapiv1.PortNumber(80)
	return gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{Namespace: &ns, Name: gwapiv1.ObjectName(k.Name), Port: &port}}
}
