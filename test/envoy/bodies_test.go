// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"tulle.dev/tulle/internal/controlplane/model"
)

// TestUploadsMeetDeadEndpoints: of two endpoints one refuses every connection. A request is repeated at the
// other, whatever the length of its body: behind a proxy, without one, and where the rule has retries of
// its own. Where those wait in between, it is up to 832 KiB.
func TestUploadsMeetDeadEndpoints(t *testing.T) {
	m, from, a, b, s := two(t, model.HTTP)
	serve(t, b.listen(t, ":8080"), "b")
	bare := m.wire.plug(t, "198.18.9.20", false)
	serve(t, bare.listen(t, ":8080"), "bare")
	old := service{name: "old", vip: "198.19.9.2", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{
		plain("198.18.9.20", 8080), plain("198.18.9.20", 8081), // nobody listens on 8081
	}}
	rules := func(s service) []model.Rule {
		to := []model.WeightedBackend{s.to(1)}
		return []model.Rule{
			{Match: prefix("/retry"), Retry: &model.Retry{Attempts: 2, Codes: []uint32{503}}, Backends: to},
			{Match: prefix("/wait"), Retry: &model.Retry{Attempts: 2, Codes: []uint32{503}, Backoff: 20 * time.Millisecond}, Backends: to},
			{Backends: to},
		}
	}
	from.hold(t, concat(s.all(m, rules(s)...), old.all(m, rules(old)...)))
	for _, size := range []int{1000, 60000, 70000, 200_000, 1_000_000, 5_000_000} {
		for _, protocol := range []string{"", "h2"} {
			for _, vip := range []string{s.vip, old.vip} {
				for _, path := range []string{"/upload", "/retry", "/wait"} {
					name := fmt.Sprintf("%d bytes %s to %s%s", size, protocol, vip, path)
					c := client(from.netns)
					if protocol != "" {
						c = client(from.netns, protocol)
					}
					failed := map[int]int{}
					for range 12 {
						resp, err := c.Post("http://"+vip+path, "text/plain", strings.NewReader(strings.Repeat("x", size)))
						if err != nil {
							failed[0]++
							continue
						}
						_ = resp.Body.Close()
						if path == "/wait" && size > 832<<10 && resp.StatusCode == http.StatusServiceUnavailable {
							continue // more came, while it waited, than can be kept
						}
						if resp.StatusCode != http.StatusOK {
							failed[resp.StatusCode]++
						}
					}
					if len(failed) > 0 {
						t.Errorf("%s: %v", name, failed)
					}
				}
			}
		}
	}
	// The seeded fault: many did meet a dead endpoint.
	if n := a.stat(t, "cluster.std/in-http1.upstream_cx_connect_fail"); n < 30 {
		t.Errorf("only %d requests met the ended application", n)
	}
	if n := from.stat(t, "cluster.out/shop/old/80.upstream_cx_connect_fail$"); n < 5 {
		t.Errorf("only %d requests met the dead endpoint", n)
	}
}

// TestUploadsThroughGateways: where an endpoint refuses the connection of a Gateway, or the application behind
// a proxy does, a request with a body of up to 64 KiB is repeated. A longer one may get 503, and never 507.
func TestUploadsThroughGateways(t *testing.T) {
	m := newMesh(t)
	in := model.Inbound{Ports: []model.InboundPort{{Port: 8080, Protocol: model.HTTP}}}
	a, b := m.sidecar(t, "a", "198.18.9.11", in, nil), m.sidecar(t, "b", "198.18.9.12", in, nil)
	serve(t, b.listen(t, ":8080"), "b")
	bare := m.wire.plug(t, "198.18.9.20", false)
	serve(t, bare.listen(t, ":8080"), "bare")
	web := service{name: "cart", protocol: model.HTTP, accounts: []string{"a", "b"}, endpoints: []model.Endpoint{meshed(a.ip, 8080), meshed(b.ip, 8080)}}
	old := service{name: "old", protocol: model.HTTP, transport: model.Plain, endpoints: []model.Endpoint{
		plain("198.18.9.20", 8080), plain("198.18.9.20", 8081), // nobody listens on 8081
	}}
	rules := []model.Rule{
		{Match: prefix("/mesh"), Backends: []model.WeightedBackend{web.to(1)}},
		{Match: prefix("/bare"), Backends: []model.WeightedBackend{old.to(1)}},
	}
	p := m.edge(t, "198.18.9.3", []string{"*"}, rules, concat(web.backend(m), old.backend(m)))
	outside := m.wire.plug(t, "198.18.9.30", false)
	for _, size := range []int{1000, 60000, 64 << 10, 70000, 100_000, 1_000_000, 5_000_000} {
		for _, protocol := range []string{"", "h2"} {
			for _, path := range []string{"/mesh", "/bare"} {
				c := client(outside)
				if protocol != "" {
					c = client(outside, protocol)
				}
				failed := map[int]int{}
				for range 12 {
					resp, err := c.Post("http://198.18.9.3"+path, "text/plain", strings.NewReader(strings.Repeat("x", size)))
					if err != nil {
						failed[0]++
						continue
					}
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusOK && (size <= 64<<10 || resp.StatusCode != http.StatusServiceUnavailable) {
						failed[resp.StatusCode]++
					}
				}
				if len(failed) > 0 {
					t.Errorf("%d bytes %s to %s: %v", size, protocol, path, failed)
				}
			}
		}
	}
	// The seeded fault: many did meet a dead endpoint.
	if n := p.stat(t, "cluster.out/shop/old/80.upstream_cx_connect_fail$"); n < 5 {
		t.Errorf("only %d requests met the dead endpoint", n)
	}
	if n := a.stat(t, "cluster.std/in-http1.upstream_cx_connect_fail"); n < 5 {
		t.Errorf("only %d requests met the ended application", n)
	}
}
