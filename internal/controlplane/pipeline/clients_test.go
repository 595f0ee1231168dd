// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package pipeline

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tulle.dev/tulle/internal/controlplane/incr"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/controlplane/source"
	"tulle.dev/tulle/internal/names"
)

// TestClients: what is made for what clients ask for, and nothing else.
func TestClients(t *testing.T) {
	service := func(name string, change func(*model.Service)) source.Event {
		k := model.Key{Namespace: "a", Name: name}
		s := model.Service{Key: k, VIPs: []netip.Addr{netip.MustParseAddr("11.0.0.1")}, Ports: []model.ServicePort{
			{Name: "grpc", Port: 80, Protocol: model.GRPC, Declared: true}, {Name: "x", Port: 81, Protocol: model.TCP},
		}}
		change(&s)
		return source.Event{Kind: source.Service, Key: k, Object: s}
	}
	world := []source.Event{
		{Kind: source.Namespace, Key: model.Key{Name: "a"}, Object: model.Namespace{Name: "a", Meshed: true}},
		{Kind: source.Namespace, Key: model.Key{Name: "b"}, Object: model.Namespace{Name: "b"}},
		service("web", func(*model.Service) {}),
		service("headless", func(s *model.Service) { s.Headless, s.VIPs = true, nil }),
		service("local", func(s *model.Service) { s.LocalTraffic = true }),
		service("external", func(s *model.Service) { s.ExternalName, s.VIPs = "example.com", nil }),
		{Kind: source.Pod, Key: model.Key{Namespace: "b", Name: "program"}, Object: model.Workload{
			Key: model.Key{Namespace: "b", Name: "program"}, UID: "u", Kind: names.KindClient, Node: "n1", ServiceAccount: "default",
		}},
	}
	for host, want := range map[string][]string{
		"web.a:80":          {"target/b/n1/web.a:80", "client/a/web/80", "client/a/web/80", "client/a/web/80"},
		"headless.a.svc:80": {"target/b/n1/headless.a.svc:80", "client/a/headless/80", "client/a/headless/80", "client/a/headless/80"},
		"local.a:80":        {"target/b/n1/local.a:80", "client/a/local/80/node/n1", "client/a/local/80/node/n1", "client/a/local/80/node/n1"},
		"web.a:81":          nil, // bytes
		"headless.a:81":     nil,
		"web.a:82":          nil,
		"external.a:80":     nil,
		"web.b:80":          nil,
		"anything":          nil,
	} {
		g := New(func(f incr.Failure) { t.Errorf("%s %v: %s", f.Collection, f.Key, f.Problem) })
		for _, c := range g.Apply(world, testSettings()).Resources {
			if names.IsClient(c.Resource.Name) {
				t.Errorf("%s is made before anybody asks", c.Resource.Key)
			}
		}
		target := names.Target{Namespace: "b", Node: "n1", Host: host}
		var made, gone []string
		for _, c := range g.Apply(nil, Inputs{Asked: map[names.Target]bool{target: true}}).Resources {
			made = append(made, c.Resource.Name)
		}
		slices.SortFunc(made, func(a, b string) int { return strings.Compare(b, a) })
		if d := cmp.Diff(want, made); d != "" {
			t.Errorf("%s (-want +made):\n%s", host, d)
		}
		for _, c := range g.Apply(nil, Inputs{Asked: map[names.Target]bool{target: false}}).Resources {
			if c.Remove {
				gone = append(gone, c.Resource.Name)
			}
		}
		if len(gone) != len(made) {
			t.Errorf("%s: made %v, and in the end took away %v", host, made, gone)
		}
	}
}
