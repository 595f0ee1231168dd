// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package policy

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
)

// cluster has one Service and some policies. Nothing else is asked for.
type cluster struct {
	Lookup
	policies []*Policy
}

func (c cluster) Service(k model.Key) (model.Service, bool) {
	web := model.Key{Namespace: "shop", Name: "web"}
	return model.Service{Key: web, Ports: []model.ServicePort{
		{Name: "http", Port: 80, Protocol: model.TCP}, {Name: "more", Port: 81, Protocol: model.TCP}, {Name: "dns", Port: 53, Protocol: model.UDP},
	}}, k == web
}

func (c cluster) Policies(on gatewayapi.OfKind[model.Object]) []*Policy {
	return slices.DeleteFunc(slices.Clone(c.policies), func(p *Policy) bool { return !slices.Contains(p.Targets(), on) })
}

func (c cluster) First(kind string, t Target) *Policy {
	return ReadFirst(c, gatewayapi.OfKind[model.Object]{Kind: kind, To: t.Object})[t.Section]
}

// on is a policy for a section of a target, created at a time in seconds.
func on(name string, created int64, group gwapiv1.Group, kind gwapiv1.Kind, to, section string) *Policy {
	ref := gwapiv1.LocalPolicyTargetReferenceWithSectionName{LocalPolicyTargetReference: gwapiv1.LocalPolicyTargetReference{Group: group, Kind: kind, Name: gwapiv1.ObjectName(to)}}
	if section != "" {
		s := gwapiv1.SectionName(section)
		ref.SectionName = &s
	}
	k, _ := KindOf("BackendTLSPolicy")
	return k.Parse(&gwapiv1.BackendTLSPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name, CreationTimestamp: metav1.Unix(created, 0)},
		Spec:       gwapiv1.BackendTLSPolicySpec{TargetRefs: []gwapiv1.LocalPolicyTargetReferenceWithSectionName{ref}},
	})
}

// TestAttach: a policy is attached where its target exists and no other that takes precedence has the same.
func TestAttach(t *testing.T) {
	for name, c := range map[string]struct {
		policy *Policy
		others []*Policy
		reason string // "": attached
	}{
		"a Service":                  {on("p", 1, "", "Service", "web", ""), nil, ""},
		"its group is core":          {on("p", 1, "core", "Service", "web", ""), nil, ""},
		"a port":                     {on("p", 1, "", "Service", "web", "http"), nil, ""},
		"no such Service":            {on("p", 1, "", "Service", "api", ""), nil, "TargetNotFound"},
		"no such port":               {on("p", 1, "", "Service", "web", "x"), nil, "TargetNotFound"},
		"a UDP port":                 {on("p", 1, "", "Service", "web", "dns"), nil, "TargetNotFound"},
		"a kind that is not ours":    {on("p", 1, "example.org", "Service", "api", ""), nil, ""},
		"an older one":               {on("p", 2, "", "Service", "web", ""), []*Policy{on("q", 1, "", "Service", "web", "")}, "Conflicted"},
		"a younger one":              {on("p", 1, "", "Service", "web", ""), []*Policy{on("a", 2, "", "Service", "web", "")}, ""},
		"one that sorts first":       {on("p", 1, "", "Service", "web", ""), []*Policy{on("a", 1, "", "Service", "web", "")}, "Conflicted"},
		"one that sorts after":       {on("p", 1, "", "Service", "web", ""), []*Policy{on("q", 1, "", "Service", "web", "")}, ""},
		"an older one for a port":    {on("p", 2, "", "Service", "web", ""), []*Policy{on("a", 1, "", "Service", "web", "http")}, ""},
		"an older one for the port":  {on("p", 2, "", "Service", "web", "http"), []*Policy{on("a", 1, "", "Service", "web", "http")}, "Conflicted"},
		"one for another port":       {on("p", 2, "", "Service", "web", "http"), []*Policy{on("a", 1, "", "Service", "web", "more")}, ""},
		"an older one for all of it": {on("p", 2, "", "Service", "web", "http"), []*Policy{on("a", 1, "", "Service", "web", "")}, ""},
	} {
		f := Attach(cluster{policies: append(c.others, c.policy)}, c.policy)
		if f.OK != (c.reason == "") || f.Reason != c.reason {
			t.Errorf("%s: %+v, want reason %q", name, f, c.reason)
		}
	}
}

// TestEffective: of the policies for a port, one that names it takes precedence, then the older.
func TestEffective(t *testing.T) {
	web := model.Object{Kind: "Service", Namespace: "shop", Name: "web"}
	whole, younger, port := on("c", 2, "", "Service", "web", ""), on("a", 3, "", "Service", "web", ""), on("b", 9, "", "Service", "web", "http")
	for _, order := range [][]*Policy{{whole, younger, port}, {port, younger, whole}, {younger, port, whole}} {
		l := cluster{policies: order}
		for section, want := range map[string]*Policy{"http": port, "more": whole} {
			if got := effective(l, kindBackendTLS, web, section); got != want {
				t.Errorf("port %s: %v, want %v", section, got.ID(), want.ID())
			}
		}
		if got := effective(l, kindBackendTLS, model.Object{Kind: "Service", Namespace: "shop", Name: "api"}, "http"); got != nil {
			t.Errorf("another Service: %v", got.ID())
		}
	}
}

// effectiveAlone is effective from all policies that have the object as a target.
func effectiveAlone(l Lookup, object model.Object, section string) *Policy {
	var best *Policy
	named := false // best names the section
	for _, p := range l.Policies(gatewayapi.OfKind[model.Object]{Kind: kindBackendTLS, To: object}) {
		for _, t := range p.targets {
			if t.Object != object || t.Section != "" && t.Section != section {
				continue
			}
			names := t.Section != ""
			if best == nil || names && !named || names == named && older(p, best) < 0 {
				best, named = p, names
			}
		}
	}
	return best
}

// TestFirst: what is read once for all sections is what each section has when it looks at all policies alone, and a
// policy is attached if no other with the same target is older.
func TestFirst(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		var c cluster
		for i := range 1 + rnd.IntN(8) {
			p := on(fmt.Sprintf("p%d", rnd.IntN(3)*10+i), rnd.Int64N(3), "", "Service", []string{"web", "api"}[rnd.IntN(2)], []string{"", "http", "more"}[rnd.IntN(3)])
			more := on("more", 0, "", "Service", "web", []string{"", "http", "more"}[rnd.IntN(3)])
			p.targets = append(p.targets, more.targets[:rnd.IntN(2)]...)
			c.policies = append(c.policies, p)
		}
		for _, name := range []string{"web", "api"} {
			object := model.Object{Kind: "Service", Namespace: "shop", Name: name}
			for _, section := range []string{"", "http", "more"} {
				if got, want := effective(c, kindBackendTLS, object, section), effectiveAlone(c, object, section); got != want {
					t.Errorf("Service %s, port %q: %v, want %v (seed %d)", name, section, got, want, seed)
				}
			}
		}
		for _, p := range c.policies {
			want := true
			for _, o := range c.policies {
				for _, a := range p.targets {
					want = want && missing(c, a) == "" && !slices.ContainsFunc(o.targets, func(b target) bool { return b.Target == a.Target && older(o, p) < 0 })
				}
			}
			if f := Attach(c, p); f.OK != want {
				t.Errorf("%v: %+v, want it attached %t (seed %d)", p.id, f, want, seed)
			}
		}
	}
}
