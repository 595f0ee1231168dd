// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package invariant_test

import (
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/testing/invariant"
)

// whole is a small set without a fault.
func whole() []envoy.Resource {
	key := model.PortKey{Service: model.Key{Namespace: "a", Name: "b"}, Port: 80}
	return append(envoy.Common(model.Settings{}),
		envoy.Cluster(model.Backend{Key: key, Protocol: model.HTTP, Transport: model.MeshOnly}),
		envoy.Endpoints(model.Endpoints{Key: key}),
		envoy.PeerSecret(model.Peers{Service: key.Service, Roots: "PEM"}),
		envoy.Listener(model.Frontend{Key: key, Addresses: []string{"198.19.0.1"}, Protocol: model.HTTP}),
		envoy.Routes(model.RouteTable{Name: "out/a/b/80", Hosts: []model.VirtualHost{
			{Domains: []string{"*"}, Rules: []model.Rule{{Backends: []model.WeightedBackend{{Backend: key, Weight: 1}}}}},
		}}),
		envoy.Inbound(model.Inbound{Pod: model.Key{Namespace: "a", Name: "p"}}),
		envoy.TrustSecret("PEM", "cluster.local"),
	)
}

// TestCheck breaks one rule at a time and wants to hear of it.
func TestCheck(t *testing.T) {
	if err := invariant.Check(whole()); err != nil {
		t.Fatalf("a whole set: %v", err)
	}
	for name, c := range map[string]struct {
		harm func([]envoy.Resource) []envoy.Resource
		say  string
	}{
		"a resource twice": {func(r []envoy.Resource) []envoy.Resource { return append(r, r[0]) }, "stands twice"},
		"a field out of range": {func(r []envoy.Resource) []envoy.Resource {
			routes(r).GetVirtualHosts()[0].GetRoutes()[0].GetRoute().HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: "a\nb"}
			return r
		}, "HostRewriteLiteral"},
		"a field out of range in an extension": {func(r []envoy.Resource) []envoy.Resource {
			l := listener(r, "out/a/b/80")
			h := new(hcmv3.HttpConnectionManager)
			cfg := l.GetFilterChains()[0].GetFilters()[0].GetTypedConfig()
			if err := cfg.UnmarshalTo(h); err != nil {
				panic(err)
			}
			h.StatPrefix = ""
			pack(cfg, h)
			return r
		}, "StatPrefix"},
		"a reference that is not told": {func(r []envoy.Resource) []envoy.Resource {
			for i := range r {
				if r[i].TypeURL == envoy.RoutesType {
					r[i].Refs = nil
				}
			}
			return r
		}, "says that it refers to"},
		"no cluster":          {func(r []envoy.Resource) []envoy.Resource { return without(r, envoy.ClusterType, "out/a/b/80") }, "does not exist"},
		"no endpoints":        {func(r []envoy.Resource) []envoy.Resource { return without(r, envoy.EndpointsType, "out/a/b/80") }, "does not exist"},
		"no routes":           {func(r []envoy.Resource) []envoy.Resource { return without(r, envoy.RoutesType, "out/a/b/80") }, "does not exist"},
		"no secret":           {func(r []envoy.Resource) []envoy.Resource { return without(r, envoy.SecretType, "trust") }, "does not exist"},
		"chains that collide": {func(r []envoy.Resource) []envoy.Resource { l := listener(r, "std/outbound"); again(l); return r }, "both match"},
		"chains of one name": {func(r []envoy.Resource) []envoy.Resource {
			l := listener(r, "in/a/p")
			again(l)
			again(l)
			return r
		}, `two chains are named "again"`},
		"a chain that is only named": {func(r []envoy.Resource) []envoy.Resource {
			l := listener(r, "in/a/p")
			l.FilterChains = l.GetFilterChains()[1:]
			return r
		}, "does not exist"},
		"no chain": {func(r []envoy.Resource) []envoy.Resource {
			l := listener(r, "in/a/p")
			l.FilterChains, l.DefaultFilterChain = nil, nil
			return r
		}, "no filter chain"},
		"a domain twice": {func(r []envoy.Resource) []envoy.Resource {
			rc := routes(r)
			rc.VirtualHosts = append(rc.VirtualHosts, &routev3.VirtualHost{Name: "x", Domains: []string{"*"}})
			return r
		}, `domain "*" stands twice`},
		"an address twice": {func(r []envoy.Resource) []envoy.Resource {
			key := model.PortKey{Service: model.Key{Namespace: "a", Name: "c"}, Port: 80}
			return append(r, envoy.Listener(model.Frontend{Key: key, Addresses: []string{"198.19.0.1"}, Protocol: model.TCP}))
		}, "has the address of"},
	} {
		t.Run(name, func(t *testing.T) {
			err := invariant.Check(c.harm(whole()))
			if err == nil || !strings.Contains(err.Error(), c.say) {
				t.Errorf("Check says %v, want %q", err, c.say)
			}
		})
	}
}

func routes(r []envoy.Resource) *routev3.RouteConfiguration {
	for _, x := range r {
		if rc, ok := x.Message.(*routev3.RouteConfiguration); ok {
			return rc
		}
	}
	panic("no routes")
}

func listener(r []envoy.Resource, name string) *listenerv3.Listener {
	for _, x := range r {
		if l, ok := x.Message.(*listenerv3.Listener); ok && x.Name == name {
			return l
		}
	}
	panic("no listener " + name)
}

func again(l *listenerv3.Listener) {
	c := proto.Clone(l.GetFilterChains()[0]).(*listenerv3.FilterChain)
	c.Name = "again"
	l.FilterChains = append(l.FilterChains, c)
}

func without(r []envoy.Resource, url, name string) []envoy.Resource {
	var out []envoy.Resource
	for _, x := range r {
		if x.TypeURL != url || x.Name != name {
			out = append(out, x)
		}
	}
	return out
}

func pack(a *anypb.Any, m proto.Message) {
	if err := a.MarshalFrom(m); err != nil {
		panic(err)
	}
}
