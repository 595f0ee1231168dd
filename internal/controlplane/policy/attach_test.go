// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package policy

import (
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
