// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
)

// expressionRoute is a route with so many large expressions of few characters, on Service web of namespace tenant or on
// Gateway edge. One with a greater number is younger.
func expressionRoute(namespace string, n, expressions int, parent string) source.Event {
	e := tenantRoute(n, 1)
	o := e.Object.(*gwapiv1.HTTPRoute)
	regex, port := gwapiv1.HeaderMatchRegularExpression, gwapiv1.PortNumber(1000)
	of := gwapiv1.Namespace("tenant")
	e.Key.Namespace, o.Namespace = namespace, namespace
	o.CreationTimestamp = metav1.NewTime(time.Unix(int64(1000+n), 0))
	o.Spec.ParentRefs[0].Namespace, o.Spec.ParentRefs[0].Port = &of, &port
	if parent == "Gateway" {
		infra := gwapiv1.Namespace("infra")
		o.Spec.ParentRefs = []gwapiv1.ParentReference{{Name: "edge", Namespace: &infra}}
		o.Spec.Hostnames = []gwapiv1.Hostname{gwapiv1.Hostname(fmt.Sprintf("h%d.%s.example.com", n, namespace))}
	}
	o.Spec.Rules = o.Spec.Rules[:1]
	o.Spec.Rules[0].Matches = nil
	for i := range expressions {
		o.Spec.Rules[0].Matches = append(o.Spec.Rules[0].Matches, gwapiv1.HTTPRouteMatch{Headers: []gwapiv1.HTTPHeaderMatch{
			{Type: &regex, Name: gwapiv1.HTTPHeaderName(fmt.Sprint("h", i)), Value: "a{1000}b{900}"},
		}})
	}
	return e
}

// TestTooManyExpressions: of 25,000 expressions of 13 characters, which take a proxy 50 KiB each, few are in effect on a
// Service and at a shared Gateway. Routes of other namespaces and those without expressions are not concerned.
func TestTooManyExpressions(t *testing.T) {
	for parent, c := range map[string]struct {
		fit     int // routes of 52 expressions
		message string
	}{
		"Service": {1, "are too large: their rules may take 4096 KiB"},
		"Gateway": {6, "the regular expressions of the routes of namespace tenant at Gateway infra/edge are too large: compiled they may take 16384 KiB"},
	} {
		t.Run(parent, func(t *testing.T) {
			g := meshOf(t, 1)
			all := gwapiv1.NamespacesFromAll
			key := model.Key{Namespace: "infra", Name: "edge"}
			edge := &gwapiv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "edge", UID: "edge", Generation: 1}, Spec: gwapiv1.GatewaySpec{GatewayClassName: "tulle", Listeners: []gwapiv1.Listener{
				{Name: "http", Port: 80, Protocol: gwapiv1.HTTPProtocolType, AllowedRoutes: &gwapiv1.AllowedRoutes{Namespaces: &gwapiv1.RouteNamespaces{From: &all}}},
			}}}
			events := []source.Event{tenantService(1, nil), {Kind: source.Gateway, Key: key, Object: edge}}
			for n := range 481 {
				events = append(events, expressionRoute("tenant", n, 52, parent))
			}
			for n := range 3 {
				events = append(events, expressionRoute("other", 500+n, 10, parent))
			}
			events = append(events, expressionRoute("tenant", 600, 0, parent))
			g.Apply(events, Inputs{})
			accepted := func() (out []string) {
				for k, v := range g.verdicts.routes.All() {
					c0 := v.Parents[0].Conditions[0]
					if c0.Status == metav1.ConditionTrue {
						out = append(out, k.Namespace+"/"+k.Name)
					} else if c0.Reason != "TooManyRules" || !strings.Contains(c0.Message, c.message) || len(v.Parents[0].Tables) > 0 {
						t.Fatalf("%v: %+v", k, v)
					}
				}
				slices.Sort(out)
				return out
			}
			want := func(from int) []string {
				out := []string{"other/route-500", "other/route-501", "other/route-502"}
				for n := range c.fit {
					out = append(out, fmt.Sprintf("tenant/route-%03d", from+n))
				}
				return append(out, "tenant/route-600")
			}
			if d := cmp.Diff(want(0), accepted()); d != "" {
				t.Errorf("accepted (-want +got):\n%s", d)
			}
			if parent == "Gateway" {
				parts, matches := 0, 0
				for k, p := range g.gateways.parts.All() {
					parts++
					if matches += len(p.Part.Rules); len(p.Part.Rules) == 0 {
						t.Errorf("%v has no rules", k)
					}
				}
				if parts != len(want(0)) || matches != c.fit*52+30+1 {
					t.Errorf("the Gateway has %d parts with %d rules", parts, matches)
				}
				on, _ := g.verdicts.gateways.Value(key)
				if n := on.Listeners[0].AttachedRoutes; int(n) != len(want(0)) {
					t.Errorf("%d routes are attached", n)
				}
			} else {
				table, _ := g.services.tables.Value("out/tenant/web/1000")
				if n := len(table.Hosts[0].Rules); n != c.fit*52+1 {
					t.Errorf("the table has %d rules", n)
				}
			}
			g.Apply([]source.Event{{Kind: "HTTPRoute", Key: model.Key{Namespace: "tenant", Name: "route-000"}}}, Inputs{})
			if d := cmp.Diff(want(1), accepted()); d != "" {
				t.Errorf("accepted, after the oldest was deleted (-want +got):\n%s", d)
			}
		})
	}
}
