// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package compat

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/dataplane/wire"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/models"
	"tulle.dev/tulle/internal/virtualhost"
)

// TestParts: what the agent puts together of the parts of a Gateway's routes is the very table that the
// control plane would make of all these routes at once.
func TestParts(t *testing.T) {
	rules := 0
	for seed := range uint64(300) {
		parts := randomParts(rand.New(rand.NewPCG(seed, 3)), seed)
		hostnames := virtualhost.Table{Listeners: []string{"", "*.example"}, Misdirected: []string{"other.example"}}
		want := model.RouteTable{Name: names.GatewayPort("shop", "web", 80)}
		var all []*virtualhost.Part[model.Rule]
		table := model.GatewayTable{Name: want.Name, Table: hostnames}
		resources := make([]envoy.Resource, 0, len(parts))
		for _, p := range parts {
			all = append(all, &p.Part)
			rules += len(p.Rules)
			r := envoy.RoutePart(p)
			table.Parts, resources = append(table.Parts, r.Name), append(resources, r)
		}
		for _, h := range virtualhost.Compose(hostnames, all) {
			want.Hosts = append(want.Hosts, model.VirtualHost(h))
		}
		scope := envoy.Scope(model.Scope{
			Name: names.ScopeSidecar("shop", "web"), Listeners: []string{want.Name}, Tables: []model.GatewayTable{table},
		})

		a := newAgent("0.3.0")
		a.open()
		give(t, a, scope)
		give(t, a, resources...)
		give(t, a, envoy.Resource{TypeURL: wire.ListenerType, Name: want.Name, Raw: []byte{}})
		raw, ok := a.holds[wire.RouteType+" "+want.Name]
		if !ok {
			t.Fatalf("seed %d: Envoy did not get the table", seed)
		}
		x, err := wire.ParseResource(raw)
		if err != nil {
			t.Fatal(err)
		}
		body, err := x.Body()
		if err != nil {
			t.Fatal(err)
		}
		got := &routev3.RouteConfiguration{}
		if err := proto.Unmarshal(body, got); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(envoy.Routes(want).Message, proto.Message(got), protocmp.Transform()); d != "" {
			t.Fatalf("seed %d (-all at once +of parts):\n%s", seed, d)
		}
	}
	if rules < 1000 {
		t.Errorf("only %d rules were tried", rules)
	}
}

func give(t *testing.T, a *agent, all ...envoy.Resource) {
	t.Helper()
	if len(all) == 0 {
		return
	}
	r := &wire.Response{TypeURL: all[0].TypeURL, Nonce: all[0].Name}
	for _, x := range all {
		body, err := x.Body()
		if err != nil {
			t.Fatal(err)
		}
		r.Resources = append(r.Resources, wire.NewResource(x.TypeURL, x.Name, "1", body))
	}
	if err := a.take(r.Marshal()); err != nil {
		t.Fatal(err)
	}
}

// randomParts are routes with the rules of models.Random, for host names that meet in various ways.
func randomParts(r *rand.Rand, seed uint64) (out []model.RoutePart) {
	for i, t := range models.Random(seed).Tables {
		p := model.RoutePart{Table: names.GatewayPort("shop", "web", 80), Part: virtualhost.Part[model.Rule]{
			Kind: "HTTPRoute", Namespace: "shop", Name: fmt.Sprint(i), Created: time.Unix(int64(r.IntN(2)), 0).UTC(),
		}}
		for _, h := range t.Hosts {
			for _, rule := range h.Rules {
				p.Rules = append(p.Rules, virtualhost.Rule[model.Rule]{Rank: [5]int{r.IntN(3), r.IntN(3)}, Rule: rule})
			}
		}
		for _, listener := range []string{"", "*.example"} {
			own := [][]string{{""}, {"a.example"}, {"*.example", "b.a.example"}, {"*.a.example"}}[r.IntN(4)]
			c := virtualhost.Claim{Listener: listener, Hostnames: own}
			for _, h := range own {
				if d, ok := virtualhost.Meet(listener, h); ok && (listener == "*.example") == virtualhost.Covers("*.example", d) {
					c.Domains = append(c.Domains, d)
				}
			}
			if len(c.Domains) > 0 {
				p.Claims = append(p.Claims, c)
			}
		}
		if len(p.Claims) > 0 {
			out = append(out, p)
		}
	}
	return out
}
