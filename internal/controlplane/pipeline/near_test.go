// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"maps"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/controlplane/status"
)

// TestWhomARouteConcerns: the Gateway of a parent, the route's namespace and those of the backends that it
// may use; not that of a backend which is refused.
func TestWhomARouteConcerns(t *testing.T) {
	g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
	w := &world{}
	gwKey, routeKey := model.Key{Namespace: "infra", Name: "edge"}, model.Key{Namespace: "shop", Name: "r"}
	all := gwapiv1.NamespacesFromAll
	gateway := &gwapiv1.Gateway{ObjectMeta: w.meta(gwKey), Spec: gwapiv1.GatewaySpec{GatewayClassName: "tulle", Listeners: []gwapiv1.Listener{{
		Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType, AllowedRoutes: &gwapiv1.AllowedRoutes{Namespaces: &gwapiv1.RouteNamespaces{From: &all}},
	}}}}
	backend := func(namespace, name string) gwapiv1.HTTPBackendRef {
		port := gwapiv1.PortNumber(80)
		return gwapiv1.HTTPBackendRef{BackendRef: gwapiv1.BackendRef{BackendObjectReference: gwapiv1.BackendObjectReference{
			Name: gwapiv1.ObjectName(name), Namespace: (*gwapiv1.Namespace)(&namespace), Port: &port,
		}}}
	}
	infra := gwapiv1.Namespace("infra")
	route := &gwapiv1.HTTPRoute{ObjectMeta: w.meta(routeKey), Spec: gwapiv1.HTTPRouteSpec{
		CommonRouteSpec: gwapiv1.CommonRouteSpec{ParentRefs: []gwapiv1.ParentReference{{Name: "edge", Namespace: &infra}}},
		Rules:           []gwapiv1.HTTPRouteRule{{BackendRefs: []gwapiv1.HTTPBackendRef{backend("shop", "web"), backend("stock", "db"), backend("evil", "x")}}},
	}}
	grantKey := model.Key{Namespace: "stock", Name: "g"}
	grant := &gwapiv1.ReferenceGrant{ObjectMeta: w.meta(grantKey), Spec: gwapiv1.ReferenceGrantSpec{
		From: []gwapiv1.ReferenceGrantFrom{{Group: gwapiv1.GroupName, Kind: gatewayapi.KindHTTPRoute, Namespace: "shop"}},
		To:   []gwapiv1.ReferenceGrantTo{{Kind: gatewayapi.KindService}},
	}}
	events := []source.Event{
		class(),
		{Kind: source.Gateway, Key: gwKey, Object: gateway},
		{Kind: "HTTPRoute", Key: routeKey, Object: route},
		{Kind: source.ReferenceGrant, Key: grantKey, Object: grant},
	}
	for i, k := range []model.Key{{Namespace: "shop", Name: "web"}, {Namespace: "stock", Name: "db"}, {Namespace: "evil", Name: "x"}} {
		events = append(events, source.Event{Kind: source.Service, Key: k, Object: model.Service{Key: k, VIPs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)})}, Ports: []model.ServicePort{{Name: "http", Port: 80, Protocol: model.HTTP, Declared: true}}}})
	}
	g.Apply(events, testSettings())
	needs := maps.Collect(g.verdicts.routes.All())[model.Object{Kind: gatewayapi.KindHTTPRoute, Namespace: "shop", Name: "r"}].Needs
	if len(needs) != 1 || len(needs[0].Lead) == 0 {
		t.Fatalf("%+v", needs)
	}
	if diff := cmp.Diff(status.Near{Namespaces: []string{"shop", "stock"}, Gateway: gwKey}, needs[0].Near); diff != "" {
		t.Errorf("the route concerns (-want +got):\n%s", diff)
	}
	for k, v := range maps.Collect(g.verdicts.gateways.All()) {
		if v.Need.Near.Gateway != k || len(v.Need.Near.Namespaces) > 0 {
			t.Errorf("Gateway %v concerns %+v", k, v.Need.Near)
		}
	}
}
