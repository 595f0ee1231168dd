// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/testing/cluster"
)

// route is an HTTPRoute of Service server that marks its answers with its own name. Its path is where
// it answers; more is the rest of its rule.
const route = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  parentRefs: [{group: "", kind: Service, name: %[3]s, port: %[4]d}]
  rules:
  - matches: [{path: {type: %[5]s, value: %[6]q}}]
    filters:
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-Route, value: %[2]s}]}}%[7]s
    backendRefs: [{name: %[3]s, port: %[4]d%[8]s}]
`

// TestWrongRoutes: a route that can't be carried out says which of its fields is why; it is not in
// effect, and all others are. When the last one goes, the Service is what it was before.
func TestWrongRoutes(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "wrong", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Ports: "[{name: http, port: 80, targetPort: 8080}, {name: rpc, port: 9090}]"})
	c.Deploy(t, ns, cluster.Echo{Name: "client", NoService: true})
	c.Ready(t, ns, "server", "client")
	me := podOf(t, c, ns, "client")

	c.MustApply(t, route, ns, "good", "server", 80, "PathPrefix", "/good", "", "")
	c.RouteCondition(t, ns, "good", status.ConditionProgrammed, metav1.ConditionTrue)
	for _, k := range []struct{ name, kind, path, filter, backend, field, says string }{
		{
			name: "filter", kind: "PathPrefix", path: "/good/filter", field: "spec.rules[0].filters[1].type", says: "ExtensionRef",
			filter: "\n    - {type: ExtensionRef, extensionRef: {group: example.org, kind: Filter, name: mine}}",
		},
		{
			name: "backend-filter", kind: "PathPrefix", path: "/good/backend", field: "spec.rules[0].backendRefs[0].filters[0].type", says: "RequestMirror",
			backend: ", filters: [{type: RequestMirror, requestMirror: {backendRef: {name: server, port: 80}}}]",
		},
		{
			name: "together", kind: "PathPrefix", path: "/good/together", field: "spec.rules[0].filters", says: "exclude each other",
			filter: "\n    - {type: RequestRedirect, requestRedirect: {statusCode: 301}}\n    - {type: URLRewrite, urlRewrite: {hostname: a.example}}",
		},
		{name: "regex", kind: "RegularExpression", path: "/good/(regex", field: "spec.rules[0].matches[0].path.value", says: "missing closing )"},
	} {
		t.Run(k.name, func(t *testing.T) {
			err := c.TryApply(t.Context(), fmt.Sprintf(route, ns, k.name, "server", 80, k.kind, k.path, k.filter, k.backend))
			if err != nil { // the CRD may know better: that is told to the user at once, too
				if !strings.Contains(err.Error(), "spec.rules") {
					t.Errorf("refused with %v", err)
				}
				return
			}
			got := c.RouteCondition(t, ns, k.name, "Accepted", metav1.ConditionFalse)
			if !strings.Contains(got.Message, k.field) || !strings.Contains(got.Message, k.says) {
				t.Errorf("%s: %s, want %s and %q", got.Reason, got.Message, k.field, k.says)
			}
			if d := me.get(t, "http://server"+strings.ReplaceAll(k.path, "(", "")); via(d) != "good" {
				t.Errorf("answered by route %q, want good", via(d))
			}
		})
	}
	t.Run("two kinds on one port", func(t *testing.T) { twoKinds(t, c, ns, me) })
	t.Run("deleted", func(t *testing.T) {
		if d := me.dial(t, "http", "http://server/"); d.Status != 404 {
			t.Errorf("what no route matches: %d", d.Status)
		}
		if err := c.DeleteAllOf(t.Context(), &gwapiv1.HTTPRoute{}, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
		me.get(t, "http://server/")
		if d := me.get(t, "http://server/good"); via(d) != "" || d.Report.Caller != spiffe(ns, "client") {
			t.Errorf("answered by route %q for %q", via(d), d.Report.Caller)
		}
	})
}

// via is the route that an answer came by.
func via(d dialed) string { return strings.Join(d.Header["X-Route"], " ") }

// twoKinds: on a port with a GRPCRoute and an HTTPRoute the GRPCRoute decides (GEP-1294); the other
// is told, and has its turn when the first is gone.
func twoKinds(t *testing.T, c *cluster.Cluster, ns string, me from) {
	c.MustApply(t, route, ns, "second", "server", 9090, "PathPrefix", "/", "", "")
	// The port was bytes and becomes HTTP: listener and cluster are made anew, and nothing of that waits for a timeout of Envoy's.
	began := time.Now()
	c.RouteCondition(t, ns, "second", status.ConditionProgrammed, metav1.ConditionTrue)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("a port's first route took %v", took)
	}
	c.MustApply(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: first, namespace: %s}
spec:
  parentRefs: [{group: "", kind: Service, name: server, port: 9090}]
  rules: [{backendRefs: [{name: server, port: 9090}]}]
`, ns)
	if got := c.RouteCondition(t, ns, "second", "Accepted", metav1.ConditionFalse); got.Reason != "Conflicted" || !strings.Contains(got.Message, "GRPCRoute "+ns+"/first") {
		t.Errorf("the loser: %s: %s", got.Reason, got.Message)
	}
	first := &gwapiv1.GRPCRoute{}
	cluster.Eventually(t, 30*time.Second, "GRPCRoute programmed", func() error {
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "first"}, first); err != nil {
			return err
		}
		for _, p := range first.Status.Parents {
			if apimeta.IsStatusConditionTrue(p.Conditions, "Accepted") && apimeta.IsStatusConditionTrue(p.Conditions, status.ConditionProgrammed) {
				return nil
			}
		}
		return fmt.Errorf("%+v", first.Status.Parents)
	})
	if d := me.dial(t, "grpc", "server:9090"); d.Error != "" || d.Report.Caller != spiffe(ns, "client") {
		t.Errorf("gRPC: %s %+v", d.Error, d.Report)
	}
	if err := c.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	c.RouteCondition(t, ns, "second", "Accepted", metav1.ConditionTrue)
}
