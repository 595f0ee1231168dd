// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
)

// TestMeshRoutes: what is read once of the routes of a Service is what each port and namespace has, and each route
// meets, when it looks at all of them alone.
func TestMeshRoutes(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	decided, beaten, shared := 0, 0, 0
	for i := range uint64(400) {
		g := generator{rand.New(rand.NewPCG(seed, i))}
		w := g.world()
		for n := range 12 { // more of the kinds that the world has few of, most of them on one Service
			common := g.common()
			for j := range common.ParentRefs {
				if ref := &common.ParentRefs[j]; ref.Kind != nil {
					ref.Name, ref.SectionName = pick[gwapiv1.ObjectName](g, "x", "x", "x", "y"), maybe[gwapiv1.SectionName](g, "p0", "p1")
				}
			}
			refs := []gwapiv1.TLSRouteRule{{BackendRefs: g.refs()}}
			switch n % 3 {
			case 0:
				w.addObject(&gwapiv1.TLSRoute{ObjectMeta: g.meta("s", 10+n), Spec: gwapiv1.TLSRouteSpec{CommonRouteSpec: common, Hostnames: g.hostnames(), Rules: refs}})
			case 1:
				w.addObject(&gwapiv1.HTTPRoute{ObjectMeta: g.meta("h", 10+n), Spec: gwapiv1.HTTPRouteSpec{CommonRouteSpec: common, Rules: g.rules()}})
			default:
				w.addObject(&gwapiv1.TCPRoute{ObjectMeta: g.meta("t", 10+n), Spec: gwapiv1.TCPRouteSpec{CommonRouteSpec: common, Rules: []gwapiv1.TCPRouteRule{{BackendRefs: refs[0].BackendRefs}}}})
			}
		}
		for _, s := range w.services {
			m := gatewayapi.ReadMeshRoutes(w, s.Key)
			if again := gatewayapi.ReadMeshRoutes(w.shuffled(i), s.Key); !m.Same(again) {
				t.Errorf("Service %s: the order of the routes shows", s.Key)
			}
			sharing, consumers := m.Sharing(s), map[string]bool{}
			for _, p := range s.Ports {
				for _, ns := range []string{"a", "b"} {
					want := gatewayapi.EffectiveAlone(w, s, p, ns)
					if got := m.Deciding(p.Port, ns); !slices.Equal(got, want) {
						t.Errorf("Service %s port %d, routes of %s: %v decide, want %v", s.Key, p.Port, ns, ids(got), ids(want))
					}
					decided += len(want)
					consumers[ns] = consumers[ns] || len(want) > 0 && ns != s.Namespace
				}
				for _, r := range w.routes {
					want := model.Object{}
					if by := gatewayapi.RivalAlone(w, r, s, p); by != nil {
						want = by.ID()
						beaten++
					}
					if got := m.RivalOn(r, p.Port); got != want {
						t.Errorf("Service %s port %d: %v has no effect because of %v, want %v", s.Key, p.Port, r.ID(), got, want)
					}
				}
			}
			for _, ns := range []string{"a", "b"} {
				if got := slices.Contains(gatewayapi.MeshConsumers(w, s.Key), ns); got != consumers[ns] {
					t.Errorf("Service %s: consumer %s %t, want %t", s.Key, ns, got, consumers[ns])
				}
				for _, p := range s.Ports {
					want := consumers[ns] && p.Protocol != model.UDP && len(gatewayapi.EffectiveAlone(w, s, p, ns)) == 0
					if got := slices.Contains(sharing[p.Port], ns); got != want {
						t.Errorf("Service %s port %d: %s shares the producer's routes %t, want %t", s.Key, p.Port, ns, got, want)
					}
					if want {
						shared++
					}
				}
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d, cluster %d", seed, i)
		}
	}
	if decided < 1000 || beaten < 200 || shared < 100 {
		t.Errorf("too little happened: %d routes decide, %d are beaten, %d ports are shared (seed %d)", decided, beaten, shared, seed)
	}
}

func ids(rs []*gatewayapi.Route) (out []string) {
	for _, r := range rs {
		out = append(out, fmt.Sprint(r.ID()))
	}
	return out
}
