// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"tulle.dev/tulle/internal/controlplane/model"
	agentenvoy "tulle.dev/tulle/internal/dataplane/envoy"
	"tulle.dev/tulle/internal/names"
)

// TestLimitsAreCounted: when a limit for clients acts, a statistic that the agent has Envoy keep counts it. Those that
// docs/guides/troubleshoot.md names exist.
func TestLimitsAreCounted(t *testing.T) {
	m := newMesh(t)
	m.ads.heap = siegeHeap
	m.clients.StreamIdle = 11 * time.Second // more than a client has for its headers
	p, d := edgeTo(t, m, model.Rule{})

	slow, answer := d.dial(t)
	send(t, slow, "GET / HTTP/1.1\r\nHost: h\r\nX-A: ")
	if got := d.send(t, "GET / HTTP/1.1\r\nHost: h\r\nx_user: 1\r\n\r\n"); got.status != http.StatusOK {
		t.Fatal(got)
	}
	silent := d.framed(t, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	for n, of := range []struct{ method, path string }{{"POST", "/"}, {"GET", "/bytes/1000"}} {
		if _, err := silent.Ask(n, of.method, of.path, "x_user: 1"); err != nil {
			t.Fatal(err)
		}
	}
	giveUp(d.framed(t), 0, 2000)
	empty := d.framed(t)
	if _, err := empty.Ask(0, "POST", "/"); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		_ = empty.WriteData(1, false, nil)
	}
	bad := d.framed(t)
	_, _ = bad.Ask(0, "GET", "/", "bad name: 1")
	_, _ = io.Copy(io.Discard, answer)

	for _, name := range []string{
		"http1.dropped_headers_with_underscores", "http2.dropped_headers_with_underscores", "http2.inbound_empty_frames_flood", "http2.rx_messaging_error",
		"http.gw/shop/public/80.downstream_rq_idle_timeout", "http.gw/shop/public/80.downstream_rq_header_timeout",
		"http.gw/shop/public/80.downstream_rq_too_many_premature_resets", "http.gw/shop/public/80.downstream_rq_rx_reset",
		"http.gw/shop/public/80.downstream_cx_protocol_error", "http2.tx_flush_timeout",
	} {
		eventually(t, 20*time.Second, func() error {
			if n := p.kept(t)[name]; n == 0 {
				return fmt.Errorf("%s is 0, or not kept", name)
			}
			return nil
		})
	}
	documented(t, p)
	// What nothing here brings about.
	all := p.kept(t)
	for _, name := range []string{
		"http2.requests_rejected_with_underscores_in_headers", "http1.requests_rejected_with_underscores_in_headers", "http2.header_overflow", "http2.outbound_flood",
		"http2.outbound_control_flood", "http2.inbound_priority_frames_flood", "http2.inbound_window_update_frames_flood", "http1.response_flood",
		"listener.0.0.0.0_80.downstream_pre_cx_timeout", "listener.0.0.0.0_80.downstream_global_cx_overflow", "listener.0.0.0.0_80.downstream_cx_overload_reject",
		"http.gw/shop/public/80.downstream_cx_overload_disable_keepalive", "http.gw/shop/public/80.downstream_rq_overload_close",
	} {
		if _, ok := all[name]; !ok {
			t.Errorf("%s does not exist, or is not kept", name)
		}
	}
	if t.Failed() {
		for name := range all {
			if strings.HasPrefix(name, "http") || strings.HasPrefix(name, "listener.0") {
				t.Log(name)
			}
		}
	}
}

// documented checks that each metric in the table of docs/guides/troubleshoot.md exists.
func documented(t *testing.T, p *proxy) {
	t.Helper()
	text, err := os.ReadFile("../../docs/guides/troubleshoot.md")
	if err != nil {
		t.Fatal(err)
	}
	page, err := p.get("/stats/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`(envoy_[a-z0-9_]+)(\\*?)`").FindAllStringSubmatch(string(text), -1)
	if len(names) < 20 {
		t.Errorf("the table has %d metrics", len(names))
	}
	for _, n := range names {
		if !strings.HasPrefix(n[1], "envoy_proxy_proto_") && !strings.Contains(string(page), "\n"+n[1]) && !strings.Contains(string(page), "# TYPE "+n[1]) {
			t.Errorf("%s is in the table and not in the page", n[1]+n[2])
		}
	}
}

// kept are the counters and gauges that the agent's bootstrap would have Envoy keep.
func (p *proxy) kept(t *testing.T) map[string]int {
	t.Helper()
	b, err := p.get("/stats?format=json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Stats []struct {
			Name  string
			Value any
		}
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	keeps := inclusions(t)
	out := map[string]int{}
	for _, s := range v.Stats {
		if n, ok := s.Value.(float64); ok && keeps.MatchString(s.Name) {
			out[s.Name] = int(n)
		}
	}
	return out
}

// inclusions matches the names of statistics that the agent's bootstrap includes.
func inclusions(t *testing.T) *regexp.Regexp {
	t.Helper()
	b, err := agentenvoy.Bootstrap(agentenvoy.Settings{Kind: names.KindGateway})
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Stats struct {
			Matcher struct {
				List struct {
					Patterns []struct {
						Regex struct {
							Text string `json:"regex"`
						} `json:"safe_regex"`
					} `json:"patterns"`
				} `json:"inclusion_list"`
			} `json:"stats_matcher"`
		} `json:"stats_config"`
	}
	if err := json.Unmarshal(b, &config); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range config.Stats.Matcher.List.Patterns {
		all = append(all, p.Regex.Text)
	}
	if len(all) == 0 {
		t.Fatal("the bootstrap includes no statistics")
	}
	return regexp.MustCompile("^(" + strings.Join(all, "|") + ")$")
}
