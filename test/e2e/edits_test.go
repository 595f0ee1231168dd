// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/testing/cluster"
)

// edited are two routes, steady and other, each on the Gateway front and on a Service of its own.
const edited = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: %[1]s}
spec:
  gatewayClassName: tulle
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: v1
kind: Service
metadata: {name: other, namespace: %[1]s}
spec: {selector: {app: server}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: steady, namespace: %[1]s}
spec:
  parentRefs: [{name: front}, {group: "", kind: Service, name: server, port: 80}]
  hostnames: [steady.example]
  rules: [{backendRefs: [{name: server-v1, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: other, namespace: %[1]s}
spec:
  parentRefs: [{name: front}, {group: "", kind: Service, name: other}]
  hostnames: [other.example]
  rules: [{backendRefs: [{name: server-v1, port: 80}]}]
`

// TestRouteEdits: what is under way outlives a thousand edits of its route and of another, and while
// rules, matches, filters and backends change at random no request is lost that some rule is for.
func TestRouteEdits(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "edits", meshed)
	deployVersions(t, c, ns)
	c.MustApply(t, edited, ns)
	addr := gatewayAddress(t, c, ns, "front")
	for _, r := range []string{"steady", "other"} {
		c.RouteCondition(t, ns, r, status.ConditionProgrammed, metav1.ConditionTrue)
	}
	answering(t, "http://"+addr+"/")

	lines := stream(t, addr, "steady.example")
	runs := map[string]*cluster.Run{
		"held in the mesh": c.Load(t, ns, true, "-url", "grpc://server:9090/echo.Echo/Calls", "-hold", "30s", "-workers", "2", "-rate", "2", "-duration", "10m"),
	}
	for _, name := range []string{"steady", "other"} {
		service := map[string]string{"steady": "server", "other": "other"}[name]
		args := []string{"-method", "POST", "-rate", "60", "-duration", "10m", "-workers", "8"}
		runs[name+" in the mesh"] = c.Load(t, ns, true, append(args, "-url", "http://"+service+"/")...)
		runs[name+" by the Gateway"] = c.Load(t, ns, false, append(args, "-url", "http://"+addr+"/", "-host", name+".example", "-new-connections")...)
	}
	for _, r := range runs {
		r.Sent(t, 2)
	}

	const edits = 1000
	for i := range edits {
		rule := gwapiv1.HTTPRouteRule{BackendRefs: backends(1+i%7, 1+i%5)}
		patchRules(t, c, ns, []string{"other", "steady"}[i%2], rule)
	}
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same edits each time
	for i := range 200 {
		patchRules(t, c, ns, []string{"other", "steady"}[i%2], anyRules(random)...)
		if i%4 == 0 { // some edits meet a proxy that has taken in the last, some do not
			c.RouteCondition(t, ns, []string{"other", "steady"}[i%2], status.ConditionProgrammed, metav1.ConditionTrue)
		}
	}
	patchRules(t, c, ns, "steady", gwapiv1.HTTPRouteRule{BackendRefs: backends(0, 1)})
	c.RouteCondition(t, ns, "steady", status.ConditionProgrammed, metav1.ConditionTrue)
	unfailed(t, runs)
	for name, r := range runs {
		if err := r.Stop(t.Context()); err != nil {
			t.Errorf("stop %s: %v", name, err)
		}
	}
	noFailure(t, c.Load(t, ns, true, "-url", "http://server/", "-count", "50").Wait(t, time.Minute), 50)
	select {
	case n, open := <-lines:
		if !open {
			t.Fatalf("the answer that began before the edits broke off after %d lines", n)
		}
		t.Logf("an answer went on through all edits: line %d", n)
	case <-time.After(10 * time.Second):
		t.Error("the answer that began before the edits has stopped")
	}
}

// stream begins an answer that goes on for as long as the test, and tells of each of its lines that is
// asked for; closed where it ends.
func stream(t *testing.T, addr, host string) <-chan int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/stream?count=100000&every=50ms", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan int)
	go func() {
		defer res.Body.Close()
		defer close(lines)
		n := 0
		for s := bufio.NewScanner(res.Body); s.Scan(); {
			n++
			select {
			case lines <- n:
			default: // nobody asks
			}
		}
	}()
	return lines
}

// backends are the two versions of server, with weights.
func backends(v1, v2 int) []gwapiv1.HTTPBackendRef {
	var out []gwapiv1.HTTPBackendRef
	for i, w := range []int{v1, v2} {
		port, weight := gwapiv1.PortNumber(80), int32(w)
		out = append(out, gwapiv1.HTTPBackendRef{BackendRef: gwapiv1.BackendRef{
			BackendObjectReference: gwapiv1.BackendObjectReference{Name: gwapiv1.ObjectName(fmt.Sprintf("server-v%d", i+1)), Port: &port}, Weight: &weight,
		}})
	}
	return out
}

// anyRules are one to four rules at random, the last of which takes every request.
func anyRules(r *rand.Rand) []gwapiv1.HTTPRouteRule {
	var out []gwapiv1.HTTPRouteRule
	for i := range 1 + r.IntN(4) {
		kind, path := gwapiv1.PathMatchPathPrefix, fmt.Sprintf("/%d", r.IntN(5))
		rule := gwapiv1.HTTPRouteRule{Matches: []gwapiv1.HTTPRouteMatch{{Path: &gwapiv1.HTTPPathMatch{Type: &kind, Value: &path}}}}
		if i == 0 {
			rule.Matches = nil
		}
		rule.BackendRefs = backends(r.IntN(3), 1+r.IntN(3))
		switch r.IntN(4) { // one backend, or the other, or both
		case 0:
			rule.BackendRefs = rule.BackendRefs[1:]
		case 1:
			rule.BackendRefs = backends(1, 0)[:1]
		}
		if r.IntN(2) == 0 {
			rule.Filters = []gwapiv1.HTTPRouteFilter{{
				Type: gwapiv1.HTTPRouteFilterResponseHeaderModifier, ResponseHeaderModifier: &gwapiv1.HTTPHeaderFilter{Set: []gwapiv1.HTTPHeader{{Name: "x-edit", Value: path}}},
			}}
		}
		if r.IntN(2) == 0 {
			limit := gwapiv1.Duration("10s")
			rule.Timeouts = &gwapiv1.HTTPRouteTimeouts{Request: &limit}
		}
		out = append(out, rule)
	}
	return out
}

func patchRules(t *testing.T, c *cluster.Cluster, ns, name string, rules ...gwapiv1.HTTPRouteRule) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"spec": map[string]any{"rules": rules}})
	if err != nil {
		t.Fatal(err)
	}
	r := &gwapiv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
	if err := c.Patch(t.Context(), r, client.RawPatch(types.MergePatchType, body)); err != nil {
		t.Fatal(err)
	}
}
