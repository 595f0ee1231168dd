// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/gatewayapi"
	"tulle.dev/tulle/internal/controlplane/model"
)

// check holds what is true of every cluster: model and verdicts say the same, and what is made for
// proxies is what the translation to Envoy may rely on.
func check(t *testing.T, w *world, out output, told verdicts) {
	t.Helper()
	checkReferences(t, w)
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
	streams := map[string]model.StreamTable{}
	for _, f := range out.Frontends {
		if f.Streams != nil {
			if f.Table != nil {
				t.Errorf("%s has rules and streams", f.Port)
			}
			streams[f.Streams.Name] = *f.Streams
		}
	}
	for _, g := range out.Gateways {
		var has []string
		for _, rt := range g.Tables {
			has = append(has, rt.Name)
			add(rt)
		}
		for _, st := range g.Streams {
			has = append(has, st.Name)
			streams[st.Name] = st
		}
		for _, s := range g.Sections {
			if i := slices.Index(has, s.Table); i < 0 {
				t.Errorf("section %q names table %s and has %v", s.Name, s.Table, has)
			} else {
				has = slices.Delete(has, i, i+1)
			}
		}
		if len(has) > 0 {
			t.Errorf("port %d of Gateway %s has %v, which no section names", g.Port, g.Gateway, has)
		}
		checkHosts(t, g)
	}
	for _, rt := range tables {
		checkTable(t, rt)
	}
	for name, st := range streams {
		// To the check below a stream is a rule: it says where it comes from.
		as := model.RouteTable{Name: name, Hosts: []model.VirtualHost{{}}}
		for _, s := range st.Streams {
			checkStream(t, name, s)
			if s.Source != (model.Object{}) {
				as.Hosts[0].Rules = append(as.Hosts[0].Rules, model.Rule{Source: s.Source})
			}
		}
		tables[name] = as
	}
	checkTold(t, w, tables, told)
}

// checkHosts: no server name of a port stands twice, and each is one of its section's.
func checkHosts(t *testing.T, g gatewayPort) {
	t.Helper()
	seen := map[string]bool{}
	for _, st := range g.Streams {
		for _, s := range st.Streams {
			for _, h := range s.Hosts {
				if seen[h] {
					t.Errorf("server name %q stands twice on port %d", h, g.Port)
				}
				seen[h] = true
			}
			if (s.Hosts == nil) == g.TLS {
				t.Errorf("%s: TLS %v, server names %q", st.Name, g.TLS, s.Hosts)
			}
		}
	}
	for _, s := range g.Sections {
		if !s.Bytes && seen[s.Hostname] {
			t.Errorf("server name %q of section %s is a stream's too", s.Hostname, s.Name)
		}
	}
}

func checkStream(t *testing.T, in string, s model.Stream) {
	t.Helper()
	valid := false
	for _, b := range s.Backends {
		valid = valid || !b.Invalid
		if b.Weight == 0 || b.Invalid != (b.Backend == model.PortKey{}) {
			t.Errorf("%s: backend %+v", in, b)
		}
	}
	if len(s.Backends) > 0 && !valid {
		t.Errorf("%s: backends, and none is valid", in)
	}
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
	if p := r.Match.Path; p.Kind != model.PathRegex && r.Source.Kind == "HTTPRoute" && (strings.Contains(p.Value+"/", "/./") || strings.Contains(p.Value+"/", "/../")) {
		t.Errorf("%s: no request has the path %+v", in, p)
	}
	for _, m := range []model.HeaderMods{r.RequestHeaders, r.ResponseHeaders} {
		for _, h := range append(slices.Clone(m.Set), m.Add...) {
			if h.Name == "" || h.Name == "host" || h.Name != strings.ToLower(h.Name) || strings.ContainsAny(h.Value, "\r\n\x00") {
				t.Errorf("%s: header %+v", in, h)
			}
		}
	}
}

// checkReferences: the translation asks for no Secret and no ConfigMap but those that the references of Gateways,
// ListenerSets and policies list: a control plane reads no others.
func checkReferences(t *testing.T, w *world) {
	t.Helper()
	listed := map[string]bool{}
	add := func(refs gatewayapi.References) {
		for _, k := range refs.Secrets {
			listed["Secret "+k.String()] = true
		}
		for _, k := range append(slices.Clone(refs.ConfigMaps), refs.TrustBundles...) {
			listed["ConfigMap "+k.String()] = true
		}
	}
	asked := maps.Clone(w.asked)
	for _, gw := range w.gateways {
		add(gatewayapi.GatewayReferences(w, gw))
	}
	for _, set := range w.sets {
		add(gatewayapi.ListenerSetReferences(w, set))
	}
	for _, p := range w.policies {
		add(p.References())
	}
	for name := range asked {
		if kind, _, _ := strings.Cut(name, " "); (kind == "Secret" || kind == "ConfigMap") && !listed[name] {
			t.Errorf("%s is asked for and not listed as a reference", name)
		}
	}
}
