// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
)

func load(t testing.TB, name string) *world {
	t.Helper()
	in, err := os.ReadFile("testdata/" + name + "/in.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w, err := readWorld(in, strict)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// reads returns what a call asked the Lookup for, sorted.
func reads(w *world, call func()) []string {
	clear(w.asked)
	call()
	return slices.Sorted(maps.Keys(w.asked))
}

// TestReads pins what each output depends on: whatever it reads, a change of that evaluates it again.
func TestReads(t *testing.T) {
	edge := model.Key{Namespace: "infra", Name: "edge"}
	web := model.PortKey{Service: model.Key{Namespace: "shop", Name: "web"}, Port: 80}
	https, split := load(t, "gateway-https"), load(t, "mesh-split")
	for name, c := range map[string]struct {
		w    *world
		call func(*world)
		want []string
	}{
		"the listeners of a Gateway: itself and its class, and ListenerSets if it lets any attach": {
			https, func(w *world) { gatewayapi.ReadListeners(w, edge) },
			[]string{"Class tulle", "Gateway infra/edge"},
		},
		"which listeners are served: certificates and no routes": {
			https, func(w *world) { gatewayapi.ReadServed(w, edge) },
			[]string{"Class tulle", "Gateway infra/edge", "Grants vault", "Listeners infra/edge", "Secret infra/cert", "Secret vault/cert"},
		},
		"the ports of a Gateway: its listeners alone": {
			https, func(w *world) { gatewayapi.GatewayPortNumbers(w, edge) },
			[]string{"Class tulle", "Gateway infra/edge", "Listeners infra/edge"},
		},
		"a port of a Gateway: its certificates and no routes": {
			https, func(w *world) { gatewayapi.GatewayPort(w, edge, 443) },
			[]string{"Class tulle", "Gateway infra/edge", "Grants vault", "Listeners infra/edge", "Secret infra/cert", "Secret vault/cert"},
		},
		"a table of a Gateway: neither routes nor certificates": {
			https, func(w *world) { gatewayapi.GatewayTable(w, edge, 443, "a") },
			[]string{"Class tulle", "Gateway infra/edge", "Listeners infra/edge"},
		},
		"the parts of a route in tables of Gateways: no other routes": {
			https, func(w *world) { gatewayapi.RouteParts(w, w.of("HTTPRoute")[0]) },
			[]string{"BackendTLSPolicies shop/web", "Class tulle", "Gateway infra/edge", "Listeners infra/edge", "Precedence Gateway infra/edge shop/r", "Service shop/web"},
		},
		"the status of a Gateway: how many routes there are, and none of them": {
			https, func(w *world) { gatewayapi.GatewayStatus(w, edge) },
			[]string{"Attached infra/edge a", "Attached infra/edge b", "Class tulle", "Gateway infra/edge", "Grants vault", "Listeners infra/edge", "Secret infra/cert", "Secret vault/cert"},
		},
		"the status of a route on a Gateway: no other routes, and no certificates": {
			https, func(w *world) { gatewayapi.RouteParents(w, w.of("HTTPRoute")[0]) },
			[]string{"BackendTLSPolicies shop/web", "Class tulle", "Gateway infra/edge", "Listeners infra/edge", "Precedence Gateway infra/edge shop/r", "Served infra/edge", "Service shop/web"},
		},
		"conflicts between the routes of a Gateway: no HTTPRoutes if there are no GRPCRoutes": {
			https, func(w *world) {
				gatewayapi.ReadPrecedence(w, model.Object{Kind: "Gateway", Namespace: "infra", Name: "edge"})
			},
			[]string{"Class tulle", "GRPCRoutes Gateway infra/edge", "Gateway infra/edge", "TCPRoutes Gateway infra/edge", "TLSRoutes Gateway infra/edge", "UDPRoutes Gateway infra/edge"},
		},
		"a table of a Service: its routes, and the Services these send to": {
			split, func(w *world) { gatewayapi.MeshTable(w, web, "") },
			[]string{"BackendTLSPolicies shop/web-v1", "BackendTLSPolicies shop/web-v2", "ExcessRoutes shop/web", "Routes Service shop/web", "Service shop/web", "Service shop/web-v1", "Service shop/web-v2"},
		},
		"the table of another Service: not the routes that send to it, since its port says what it speaks": {
			split, func(w *world) {
				gatewayapi.MeshTable(w, model.PortKey{Service: model.Key{Namespace: "shop", Name: "web-v1"}, Port: 80}, "")
			},
			[]string{"BackendTLSPolicies shop/web-v1", "ExcessRoutes shop/web-v1", "Routes Service shop/web-v1", "Service shop/web-v1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(c.want, reads(c.w, func() { c.call(c.w) })); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestForNode: only the Service's own endpoints are bound to the node, and the shared table stays as it is.
func TestForNode(t *testing.T) {
	w := load(t, "service-local")
	port := model.PortKey{Service: model.Key{Namespace: "shop", Name: "web"}, Port: 80}
	shared, _, ok := gatewayapi.MeshTable(w, port, "")
	if !ok || shared == nil {
		t.Fatal("no table")
	}
	before := string(render(t, shared))
	local := gatewayapi.ForNode(*shared, port, "node-1")
	if after := string(render(t, shared)); after != before {
		t.Errorf("the shared table changed: %s", cmp.Diff(before, after))
	}
	if local.Name != "out/shop/web/80/node/node-1" {
		t.Errorf("name %s", local.Name)
	}
	bs := local.Hosts[0].Rules[0].Backends
	if len(bs) != 2 || bs[0].Node != "node-1" || bs[0].Backend != port || bs[1].Node != "" {
		t.Errorf("backends %+v", bs)
	}
}

// TestOwnConsumer: clients of the Service's own namespace have the producer's table, under its name.
func TestOwnConsumer(t *testing.T) {
	w := load(t, "mesh-consumer")
	port := model.PortKey{Service: model.Key{Namespace: "shop", Name: "web"}, Port: 80}
	all, _, _ := gatewayapi.MeshTable(w, port, "")
	own, _, _ := gatewayapi.MeshTable(w, port, "shop")
	if d := cmp.Diff(all, own); d != "" || all == nil {
		t.Error(d)
	}
}

// TestMissing: what does not exist has no output, and asking for it is no error.
func TestMissing(t *testing.T) {
	w := load(t, "gateway-https")
	nobody := model.Key{Namespace: "shop", Name: "nobody"}
	if _, ok := gatewayapi.PortProtocol(w, model.PortKey{Service: nobody, Port: 80}); ok {
		t.Error("protocol of a missing Service")
	}
	if _, ok := gatewayapi.PortProtocol(w, model.PortKey{Service: model.Key{Namespace: "shop", Name: "web"}, Port: 81}); ok {
		t.Error("protocol of a missing port")
	}
	if _, _, ok := gatewayapi.MeshTable(w, model.PortKey{Service: nobody, Port: 80}, ""); ok {
		t.Error("table of a missing Service")
	}
	if got := gatewayapi.MeshConsumers(w, nobody); got != nil {
		t.Errorf("consumers %v", got)
	}
	edge := model.Key{Namespace: "infra", Name: "edge"}
	for _, port := range []uint16{0, 80} {
		if _, ok := gatewayapi.GatewayPort(w, edge, port); ok {
			t.Errorf("port %d", port)
		}
	}
	for _, section := range []string{"", "c"} {
		if _, ok := gatewayapi.GatewayTable(w, edge, 443, section); ok {
			t.Errorf("table of section %q", section)
		}
	}
	if _, ok := gatewayapi.GatewayStatus(w, nobody); ok {
		t.Error("status of a missing Gateway")
	}
}

// TestBackends: references are listed whether they resolve or not, without others and without doubles.
func TestBackends(t *testing.T) {
	var got []string
	for _, k := range load(t, "backend-invalid").of("HTTPRoute")[0].Backends() {
		got = append(got, k.To.String())
	}
	if d := cmp.Diff("shop/external:80 shop/nobody:80 shop/web:443 shop/web:53 shop/web:80 shop/web:81", strings.Join(got, " ")); d != "" {
		t.Error(d)
	}
	got = nil
	for _, k := range load(t, "filter-grpc").of("GRPCRoute")[0].Backends() {
		got = append(got, k.To.String())
	}
	if d := cmp.Diff("shop/copy:9000 shop/rpc:9000", strings.Join(got, " ")); d != "" {
		t.Error(d)
	}
}
