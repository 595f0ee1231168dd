// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"math"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/load"
)

const meshed = names.LabelInject + "=" + names.InjectEnabled

func spiffe(ns, account string) string {
	return names.SPIFFE{TrustDomain: "cluster.local", Namespace: ns, ServiceAccount: account}.String()
}

// noFailure checks that all requests, and at least n, were answered.
func noFailure(t *testing.T, s load.Summary, n int) {
	t.Helper()
	if s.Failed > 0 || s.OK < n {
		t.Errorf("%d of %d requests failed (want 0 of at least %d): %v, longest stall %.0f ms", s.Failed, s.Sent, n, s.Failures, s.LongestStall)
	}
}

// TestIdentity: a server sees its caller's identity, over HTTP and gRPC, whatever the caller pretends to be.
func TestIdentity(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "identity", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: 2})
	c.Ready(t, ns, "server")
	for name, args := range map[string][]string{
		"HTTP/1.1": {"-url", "http://server/", "-count", "50", "-header", "X-Forwarded-Client-Cert: URI=spiffe://cluster.local/ns/kube-system/sa/admin"},
		"HTTP/2":   {"-url", "http://server/", "-count", "50", "-h2"},
		"gRPC":     {"-url", "grpc://server:9090/echo.Echo/Call", "-count", "50"},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.Load(t, ns, true, args...).Wait(t, time.Minute)
			noFailure(t, s, 50)
			if got := s.Callers["server"][spiffe(ns, "default")]; got != 50 {
				t.Errorf("callers seen: %v, want %s 50 times", s.Callers, spiffe(ns, "default"))
			}
		})
	}
	t.Run("a caller without a proxy has none", func(t *testing.T) {
		s := c.Load(t, ns, false, "-url", "http://server/", "-count", "20", "-header", "X-Forwarded-Client-Cert: URI=spiffe://cluster.local/ns/kube-system/sa/admin").Wait(t, time.Minute)
		noFailure(t, s, 20)
		if got := s.Callers["server"][""]; got != 20 {
			t.Errorf("callers seen: %v, want none 20 times", s.Callers)
		}
	})
}

const split = `
apiVersion: gateway.networking.k8s.io/v1
kind: %[4]s
metadata: {name: split, namespace: %[1]s}
spec:
  parentRefs: [{group: "", kind: Service, name: server}]
  rules:
  - backendRefs: [{name: server-v1, port: %[5]d, weight: %[2]d}, {name: server-v2, port: %[5]d, weight: %[3]d}]
`

// TestSplit: requests are split as the weights say (a chi-squared test at n requests; by chance it
// fails once in 100,000 runs), and a change of weights under load loses nothing.
func TestSplit(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	for _, k := range []struct {
		kind, url string
		port      int
	}{{"HTTPRoute", "http://server/", 80}, {"GRPCRoute", "grpc://server:9090/echo.Echo/Call", 9090}} {
		t.Run(k.kind, func(t *testing.T) {
			ns := c.Namespace(t, "split", meshed)
			deployVersions(t, c, ns)
			c.MustApply(t, split, ns, 90, 10, k.kind, k.port)
			if k.kind == "HTTPRoute" {
				c.RouteCondition(t, ns, "split", status.ConditionProgrammed, metav1.ConditionTrue)
			}
			s := c.Load(t, ns, true, "-url", k.url, "-count", "3000", "-method", "POST").Wait(t, 2*time.Minute)
			noFailure(t, s, 3000)
			chiSquared(t, s.Versions["server"], map[string]float64{"v1": 0.9, "v2": 0.1})

			run := c.Load(t, ns, true, "-url", k.url, "-method", "POST", "-rate", "300", "-duration", "12s")
			run.Sent(t, 300)
			c.MustApply(t, split, ns, 0, 1, k.kind, k.port)
			s = run.Wait(t, time.Minute)
			noFailure(t, s, 2000)
			if s.Versions["server"]["v2"] < s.OK/2 {
				t.Errorf("after all weight moved to v2: %v", s.Versions)
			}
		})
	}
}

// deployVersions makes server in two versions: Service server over both, server-v1 and server-v2 over one each.
func deployVersions(t *testing.T, c *cluster.Cluster, ns string) {
	t.Helper()
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Deploy(t, ns, cluster.Echo{Name: "server", Version: "v2", NoService: true})
	for _, v := range []string{"v1", "v2"} {
		c.MustApply(t, `
apiVersion: v1
kind: Service
metadata: {name: server-%[2]s, namespace: %[1]s}
spec: {selector: {app: server, version: %[2]s}, ports: [{name: http, port: 80, targetPort: 8080}, {name: grpc, port: 9090, targetPort: 9090}]}
`, ns, v)
	}
	c.Ready(t, ns, "server", "server-v2")
}

func chiSquared(t *testing.T, got map[string]int, want map[string]float64) {
	t.Helper()
	n := 0
	for _, k := range got {
		n += k
	}
	sum := 0.0
	for v, p := range want {
		e := p * float64(n)
		sum += math.Pow(float64(got[v])-e, 2) / e
	}
	if n == 0 || sum > 19.5 { // one degree of freedom, p = 0.00001
		t.Errorf("%v is not a split of %v: chi squared %.1f", got, want, sum)
	}
	t.Logf("split of %d: %v, chi squared %.2f", n, got, sum)
}

// TestMissingBackend: the share of a Service that does not exist is answered with 500, the rest as
// usual, and the route says so.
func TestMissingBackend(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "missing", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")
	c.MustApply(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: half, namespace: %s}
spec:
  parentRefs: [{group: "", kind: Service, name: server}]
  rules:
  - backendRefs: [{name: server, port: 80}, {name: nowhere, port: 80}]
`, ns)
	got := c.RouteCondition(t, ns, "half", "ResolvedRefs", metav1.ConditionFalse)
	if got.Reason != "BackendNotFound" || !strings.Contains(got.Message, "nowhere") {
		t.Errorf("ResolvedRefs: %s: %s", got.Reason, got.Message)
	}
	c.RouteCondition(t, ns, "half", status.ConditionProgrammed, metav1.ConditionTrue)
	s := c.Load(t, ns, true, "-url", "http://server/", "-count", "1000").Wait(t, time.Minute)
	chiSquared(t, s.Statuses, map[string]float64{"200": 0.5, "500": 0.5})
}

// TestGateway: traffic from outside comes in by a Gateway's address and is split by its route.
func TestGateway(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "gateway", meshed)
	deployVersions(t, c, ns)
	c.MustApply(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: %[1]s}
spec:
  gatewayClassName: tulle
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front, namespace: %[1]s}
spec:
  parentRefs: [{name: front}]
  hostnames: [shop.example]
  rules:
  - backendRefs: [{name: server-v1, port: 80, weight: 3}, {name: server-v2, port: 80, weight: 1}]
`, ns)
	addr := gatewayAddress(t, c, ns, "front")
	c.RouteCondition(t, ns, "front", status.ConditionProgrammed, metav1.ConditionTrue)
	answering(t, "http://"+addr+"/")
	s, err := load.Run(t.Context(), load.Options{URL: "http://" + addr + "/", Host: "shop.example", Count: 2000, Method: "POST"})
	if err != nil {
		t.Fatal(err)
	}
	noFailure(t, s, 2000)
	chiSquared(t, s.Versions["server"], map[string]float64{"v1": 0.75, "v2": 0.25})
	if got := s.Callers["server"][spiffe(ns, "front-tulle")]; got != 2000 {
		t.Errorf("callers seen: %v, want the Gateway's", s.Callers)
	}
	s, err = load.Run(t.Context(), load.Options{URL: "http://" + addr + "/", Host: "other.example", Count: 20})
	if err != nil {
		t.Fatal(err)
	}
	if s.Statuses["404"] != 20 {
		t.Errorf("a host without a route: %v, want 404", s.Statuses)
	}
}
