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
// its own. Where those wait in between, it is up to 1 MiB.
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
						if path == "/wait" && size > 1<<20 && resp.StatusCode == http.StatusServiceUnavailable {
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
