// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// check holds what is true of every cluster: model and verdicts say the same, and what is made for
// proxies is what the translation to Envoy may rely on.
func check(t *testing.T, w *world, out output, told verdicts) {
	t.Helper()
	tables := map[string]model.RouteTable{}
	add := func(rt model.RouteTable) {
		if _, twice := tables[rt.Name]; twice {
			t.Errorf("two tables are named %s", rt.Name)
		}
		tables[rt.Name] = rt
	}
	for _, f := range out.Frontends {
		if (f.Table != nil) != f.Protocol.IsHTTP() {
			t.Errorf("%s speaks %s: table %v", f.Port, f.Protocol, f.Table)
		}
		if f.Table != nil {
			add(*f.Table)
		}
	}
	for _, g := range out.Gateways {
		for i, rt := range g.Tables {
			if rt.Name != g.Sections[i].Table {
				t.Errorf("section %q names table %s and has %s", g.Sections[i].Name, g.Sections[i].Table, rt.Name)
			}
			add(rt)
		}
	}
	for _, rt := range tables {
		checkTable(t, rt)
	}
	checkTold(t, w, tables, told)
}

// checkTold: a table holds the rules of exactly the routes that are told to be in it.
func checkTold(t *testing.T, w *world, tables map[string]model.RouteTable, told verdicts) {
	t.Helper()
	said := map[string][]string{}
	for _, r := range told.Routes {
		for _, p := range r.Parents {
			accepted := slices.ContainsFunc(p.Conditions, func(c metav1.Condition) bool {
				return c.Type == string(gwapiv1.RouteConditionAccepted) && c.Status == metav1.ConditionTrue
			})
			if len(p.Tables) > 0 && !accepted {
				t.Errorf("%s is not accepted and yet in %v", r.Route, p.Tables)
			}
			for _, c := range p.Conditions {
				checkCondition(t, r.Route, c)
			}
			for _, n := range p.Tables {
				said[n] = append(said[n], r.Route)
				// The section of an HTTPS listener is there only with a certificate.
				section := strings.HasPrefix(n, "gw/") && strings.Count(n, "/") > 3
				if _, there := tables[n]; !there && !section {
					t.Errorf("%s is told to be in table %s, which does not exist", r.Route, n)
				}
			}
		}
	}
	for _, g := range told.Gateways {
		for _, c := range g.Conditions {
			checkCondition(t, g.Gateway, c)
		}
	}
	for name, rt := range tables {
		in := map[string]bool{}
		for _, h := range rt.Hosts {
			for _, r := range h.Rules {
				if s := r.Source.Kind + "/" + r.Source.Namespace + "/" + r.Source.Name; r.Source.Kind != "Service" {
					in[s] = true
				}
			}
		}
		for r := range in {
			if !slices.Contains(said[name], r) {
				t.Errorf("table %s has rules of %s, whose status does not say so", name, r)
			}
		}
	}
}

func checkCondition(t *testing.T, of string, c metav1.Condition) {
	t.Helper()
	if c.Reason == "" || c.Message == "" || strings.ContainsAny(c.Message, "\n\r") || len(c.Message) > 32768 || !c.LastTransitionTime.IsZero() {
		t.Errorf("%s: condition %+v", of, c)
	}
}

func checkTable(t *testing.T, rt model.RouteTable) {
	t.Helper()
	seen := map[string]bool{}
	for _, h := range rt.Hosts {
		if len(h.Domains) == 0 {
			t.Errorf("%s: a virtual host without domains", rt.Name)
		}
		for _, d := range h.Domains {
			if seen[d] || d == "" {
				t.Errorf("%s: domain %q twice or empty", rt.Name, d)
			}
			seen[d] = true
		}
		for _, r := range h.Rules {
			checkRule(t, rt.Name, r)
		}
	}
}

func checkRule(t *testing.T, in string, r model.Rule) {
	t.Helper()
	if r.Redirect != nil && (len(r.Backends) > 0 || r.Rewrite != nil || r.Redirect.Port == 0) {
		t.Errorf("%s: redirect %+v beside backends or a rewrite, or without a port", in, r.Redirect)
	}
	valid := false
	for _, b := range r.Backends {
		valid = valid || !b.Invalid
		if b.Weight == 0 || b.Invalid != (b.Backend == model.PortKey{}) {
			t.Errorf("%s: backend %+v", in, b)
		}
	}
	if len(r.Backends) > 0 && !valid {
		t.Errorf("%s: backends, and none is valid", in)
	}
	for _, m := range r.Mirrors {
		if m.Numerator == 0 || m.Numerator > m.Denominator {
			t.Errorf("%s: mirror %+v", in, m)
		}
	}
	if p := r.Match.Path; p.Kind == model.PathPrefix && (p.Value == "" || strings.HasSuffix(p.Value, "/")) || p.Kind == "" && p.Value != "" {
		t.Errorf("%s: path %+v", in, p)
	}
	for _, m := range []model.HeaderMods{r.RequestHeaders, r.ResponseHeaders} {
		for _, h := range append(slices.Clone(m.Set), m.Add...) {
			if h.Name == "" || h.Name == "host" || h.Name != strings.ToLower(h.Name) || strings.ContainsAny(h.Value, "\r\n\x00") {
				t.Errorf("%s: header %+v", in, h)
			}
		}
	}
}
