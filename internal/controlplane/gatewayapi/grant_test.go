// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"math/rand/v2"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// grants are ReferenceGrants of some namespaces.
type grants []*gwapiv1.ReferenceGrant

func (gs grants) Granted(from GrantFrom) Granted {
	return ReadGranted(slices.DeleteFunc(slices.Clone(gs), func(g *gwapiv1.ReferenceGrant) bool { return !slices.Contains(GrantedFrom(g), from) }))
}

// grantedAlone looks at the grants of a namespace one by one.
func grantedAlone(gs grants, from grantee, kind string, to model.Key) bool {
	return slices.ContainsFunc(gs, func(g *gwapiv1.ReferenceGrant) bool {
		return g.Namespace == to.Namespace &&
			slices.ContainsFunc(g.Spec.From, func(f gwapiv1.ReferenceGrantFrom) bool {
				return f.Group == gwapiv1.GroupName && string(f.Kind) == from.kind && string(f.Namespace) == from.namespace
			}) && slices.ContainsFunc(g.Spec.To, func(t gwapiv1.ReferenceGrantTo) bool {
			return t.Group == "" && string(t.Kind) == kind && (t.Name == nil || *t.Name == "" || string(*t.Name) == to.Name)
		})
	})
}

// TestGranted: what is read once of all ReferenceGrants allows what one of them allows alone.
func TestGranted(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
	allowed := 0
	for range 300 {
		var gs grants
		for range rnd.IntN(5) {
			g := &gwapiv1.ReferenceGrant{ObjectMeta: metav1.ObjectMeta{Namespace: pick("a", "b")}}
			for range rnd.IntN(3) {
				g.Spec.From = append(g.Spec.From, gwapiv1.ReferenceGrantFrom{
					Group: gwapiv1.Group(pick(gwapiv1.GroupName, gwapiv1.GroupName, "")), Kind: gwapiv1.Kind(pick(KindHTTPRoute, KindGateway)), Namespace: gwapiv1.Namespace(pick("c", "d")),
				})
				to := gwapiv1.ReferenceGrantTo{Group: gwapiv1.Group(pick("", "", "apps")), Kind: gwapiv1.Kind(pick(KindService, kindSecret))}
				if name := gwapiv1.ObjectName(pick("", "x", "y")); rnd.IntN(3) > 0 {
					to.Name = &name
				}
				g.Spec.To = append(g.Spec.To, to)
			}
			gs = append(gs, g)
		}
		for range 20 {
			from, kind, to := grantee{pick(KindHTTPRoute, KindGateway), pick("c", "d")}, pick(KindService, kindSecret), model.Key{Namespace: pick("a", "b"), Name: pick("x", "y", "z")}
			want := grantedAlone(gs, from, kind, to)
			if got := granted(gs, from, kind, to); got != want {
				t.Fatalf("%v to %s %v: %t, want %t (seed %d)", from, kind, to, got, want, seed)
			}
			if want {
				allowed++
			}
		}
	}
	if allowed < 200 {
		t.Errorf("only %d references are allowed (seed %d)", allowed, seed)
	}
}
