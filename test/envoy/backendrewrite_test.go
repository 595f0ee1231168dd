// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"fmt"
	"math"
	"testing"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/model"
)

// TestBackendRewrites: the backends of a rule get the requests of their weights, each with the path and the
// host name that its own rewrite makes.
func TestBackendRewrites(t *testing.T) {
	m := newMesh(t)
	apps := m.wire.plug(t, "198.18.9.50", false)
	ns := edge(t, m, "198.18.9.3")
	resources := envoy.Common(model.Settings{})
	rule := model.Rule{Match: prefix("/split"), Rewrite: &model.Rewrite{Hostname: "rule.example"}}
	for i, c := range []struct {
		name    string
		weight  uint32
		rewrite *model.Rewrite
	}{
		{"prefix", 1, &model.Rewrite{Path: &model.PathRewrite{Prefix: "/split", Replacement: "/one"}}},
		{"full", 2, &model.Rewrite{Hostname: "full.example", Path: &model.PathRewrite{Full: true, Replacement: "/two"}}},
		{"none", 5, nil},
	} {
		serve(t, apps.listen(t, fmt.Sprintf(":%d", 7000+i)), c.name)
		s := service{name: c.name, protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.50", uint16(7000+i))}}
		resources = append(resources, s.backend(m)...)
		b := s.to(c.weight)
		b.Rewrite = c.rewrite
		rule.Backends = append(rule.Backends, b)
	}
	startProxy(t, m.bin, ns, m.ads, "gateway", append(
		resources,
		envoy.GatewayListener(model.GatewayPort{Gateway: model.Key{Namespace: "shop", Name: "public"}, Port: 80, Sections: []model.GatewaySection{{Table: "gw/shop/public/80"}}}),
		envoy.Routes(model.RouteTable{Name: "gw/shop/public/80", Hosts: []model.VirtualHost{{Domains: []string{"*"}, Rules: []model.Rule{rule}}}}),
	))
	outside := client(m.wire.plug(t, "198.18.9.30", false))
	want := map[string]struct {
		path, host string
		share      float64
	}{
		"prefix": {"/one/a?q=1", "rule.example", 1. / 8}, "full": {"/two?q=1", "full.example", 2. / 8}, "none": {"/split/a?q=1", "rule.example", 5. / 8},
	}
	const requests = 2000
	got := map[string]int{}
	for range requests {
		a := get(t, outside, "http://198.18.9.3/split/a?q=1", nil)
		got[a.echo.Pod]++
		if w := want[a.echo.Pod]; a.status != 200 || a.echo.Path != w.path || a.echo.Host != w.host {
			t.Fatalf("%s: status %d, %s of %s, want %s of %s", a.echo.Pod, a.status, a.echo.Path, a.echo.Host, w.path, w.host)
		}
	}
	for name, w := range want {
		deviation := math.Sqrt(requests * w.share * (1 - w.share))
		if off := math.Abs(float64(got[name]) - requests*w.share); off > 5*deviation {
			t.Errorf("%s gets %d of %d requests, want %.0f", name, got[name], requests, requests*w.share)
		}
	}
}

// TestNoAttempts: with 0 attempts nothing is retried: neither a status that is named nor a connection that is
// refused.
func TestNoAttempts(t *testing.T) {
	m := newMesh(t)
	apps := m.wire.plug(t, "198.18.9.50", false)
	ns := edge(t, m, "198.18.9.3")
	app := serve(t, apps.listen(t, ":7000"), "app")
	up := service{name: "up", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.50", 7000)}}
	down := service{name: "down", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{plain("198.18.9.50", 7001)}}
	rule := func(path string, to service, r *model.Retry) model.Rule {
		return model.Rule{Match: prefix(path), Backends: []model.WeightedBackend{to.to(1)}, Retry: r}
	}
	never, once := &model.Retry{Codes: []uint32{500}, Broken: true}, &model.Retry{Attempts: 1, Codes: []uint32{500}, Broken: true}
	p := startProxy(t, m.bin, ns, m.ads, "gateway", concat(envoy.Common(model.Settings{}), up.backend(m), down.backend(m), []envoy.Resource{
		envoy.GatewayListener(model.GatewayPort{Gateway: model.Key{Namespace: "shop", Name: "public"}, Port: 80, Sections: []model.GatewaySection{{Table: "gw/shop/public/80"}}}),
		envoy.Routes(model.RouteTable{Name: "gw/shop/public/80", Hosts: []model.VirtualHost{{Domains: []string{"*"}, Rules: []model.Rule{
			rule("/never", up, never), rule("/once", up, once), rule("/down", down, never),
		}}}}),
	}))
	outside := client(m.wire.plug(t, "198.18.9.30", false))
	for i, c := range []struct {
		path   string
		status int
		asked  int64
	}{{"/never?status=500", 500, 1}, {"/once?status=500", 500, 3}, {"/down", 503, 3}} {
		if a := get(t, outside, "http://198.18.9.3"+c.path, nil); a.status != c.status || app.asked.Load() != c.asked {
			t.Errorf("%s: status %d, the application was asked %d times after %d requests, want %d", c.path, a.status, app.asked.Load(), i+1, c.asked)
		}
	}
	if n := p.stat(t, "cluster.out/shop/down/80.upstream_rq_retry$"); n != 0 {
		t.Errorf("%d retries of refused connections", n)
	}
}
