// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dataplane

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/protocol"
)

// TestPorts asks the agent the way the kubelet and Prometheus do.
func TestPorts(t *testing.T) {
	p := newPod(t)
	live, other := protocol.ProbePath(probeToken, "app", "liveness"), protocol.ProbePath(probeToken, "app", "readiness")
	p.extra = []string{
		protocol.EnvProbes + `={"` + live + `":{"http":{"port":8080,"path":"/live"}},"` + other + `":{"tcp":{"port":8099}}}`,
		protocol.EnvMetrics + `={"port":8080,"path":"/metrics"}`,
	}
	seen := set{}
	p.app.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.add(r.URL.Path + " from " + strings.Split(r.RemoteAddr, ":")[0])
		fmt.Fprintln(w, "app_requests 5")
	})
	p.start("a")
	p.hook("a", "wait")
	c := client(p.peer, 0, false)
	if _, _, err := get(c, fromPeer, ""); err != nil { // so that there is something to count
		t.Fatal(err)
	}
	agent := "http://" + podIP + ":15020"
	if _, _, err := get(c, agent+live, ""); err != nil {
		t.Errorf("liveness: %v", err)
	}
	if _, _, err := get(c, agent+other, ""); err == nil || !strings.Contains(err.Error(), "503") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a probe of a closed port: %v, want 503", err)
	}
	for _, path := range []string{"/", "/probe/app/startup", protocol.ProbePath(probeToken, "app", "startup"), "/stats", "/config_dump"} {
		if _, _, err := get(c, agent+path, ""); err == nil || !strings.Contains(err.Error(), "404") {
			t.Errorf("%s: %v, want 404", path, err)
		}
	}
	metrics, kind, err := get(c, agent+"/metrics", "Content-Type")
	if err != nil || !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Errorf("metrics: %q, %v", kind, err)
	}
	for _, want := range []string{
		"app_requests 5\n", "envoy_server_live{} 1\n", `envoy_http_downstream_rq_xx{envoy_response_code_class="2",envoy_http_conn_manager_prefix="std/in-http1"} 1`,
		"tulle_agent_serving 1\n", "tulle_agent_control_plane_connected 1\n", "tulle_agent_rejected_resources 0\n",
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("metrics lack %q", want)
		}
	}
	// Past the proxy, like every question of the agent to the application.
	for _, want := range []string{"/live from " + names.InboundSource, "/metrics from " + names.InboundSource} {
		if !seen.m[want] {
			t.Errorf("the application saw %v, want %q", seen.m, want)
		}
	}
}
