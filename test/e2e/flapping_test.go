// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/test/load"
)

// going is a Service whose port is given, and a route that sends to its port 80.
const going = `
apiVersion: v1
kind: Service
metadata: {name: going, namespace: %[1]s}
spec: {selector: {app: server}, ports: [{name: %[2]s, port: %[3]d, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: going, namespace: %[1]s}
spec:
  parentRefs: [{name: edge, sectionName: http}, {group: "", kind: Service, name: going, port: 80}]
  hostnames: [going.example]
  rules: [{backendRefs: [{name: going, port: 80}]}]
`

// portGoes: a Service's port goes while it is used. Its requests are answered with 500 (with 503 for a
// moment, since its endpoints come and go after it), the route says which port is missing where, and when
// the port is back, so is the Service.
func portGoes(t *testing.T, w wrongs) {
	w.c.MustApply(t, going, w.ns, "http", 80)
	w.c.RouteCondition(t, w.ns, "going", status.ConditionProgrammed, metav1.ConditionTrue)
	w.wants(t, "going.example", "/", nil, 200)
	run := loadBeside(t, load.Options{URL: "http://" + w.addr + "/", Host: "going.example", Rate: 60})
	for range 3 {
		begun := run.seen().Statuses
		run.until(t, "the port is used", func(s load.Summary) bool { return s.Statuses["200"] > begun["200"]+20 })
		w.c.MustApply(t, going, w.ns, "http-other", 81)
		w.hear(t, complaint{"HTTPRoute/going", "parents[0]", "ResolvedRefs", metav1.ConditionFalse, "BackendNotFound", []string{"spec.rules[0].backendRefs[0]", "has no port 80; it has 81 (http-other)"}})
		w.hear(t, complaint{"HTTPRoute/going", "parents[1]", "Accepted", metav1.ConditionFalse, "NoMatchingParent", []string{"no such TCP port; it has 81 (http-other)"}})
		run.until(t, "the port has gone", func(s load.Summary) bool { return s.Statuses["500"] > begun["500"]+20 })
		w.c.MustApply(t, going, w.ns, "http", 80)
		w.c.RouteCondition(t, w.ns, "going", "ResolvedRefs", metav1.ConditionTrue)
		w.c.RouteCondition(t, w.ns, "going", status.ConditionProgrammed, metav1.ConditionTrue)
	}
	w.wants(t, "going.example", "/", nil, 200)
	s := run.end()
	if s.Statuses["200"]+s.Failures["status 500"]+s.Failures["status 503: no healthy upstream"] != s.Sent {
		t.Errorf("%d requests, answered with %v; failures: %v", s.Sent, s.Statuses, s.Failures)
	}
}

// flapping is a Service whose endpoints are given in a slice of their own for each: the first serves
// always, the others come and go.
const flapping = `
apiVersion: v1
kind: Service
metadata: {name: flapping, namespace: %[1]s}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: flapping, namespace: %[1]s}
spec:
  parentRefs: [{name: edge, sectionName: http}]
  hostnames: [flapping.example]
  rules: [{backendRefs: [{name: flapping, port: 80}]}]
`

// endpoint is a slice with the endpoints of Service flapping that are given.
func endpoint(ns, name string, port int, list string) string {
	return fmt.Sprintf(`
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: flapping-%s, namespace: %s, labels: {kubernetes.io/service-name: flapping}}
addressType: IPv4
ports: [{name: http, port: %d}]
endpoints: [%s]
`, name, ns, port, list)
}

// flaps: beside an endpoint that serves, another one that does comes and goes, and one that does not: with
// a proxy before an application that has gone, and without. No request fails.
func flaps(t *testing.T, w wrongs) {
	steady, other := w.c.Pods(t, w.ns, "version=v1")[0], w.c.Pods(t, w.ns, "version=v2")[0]
	w.c.MustApply(t, flapping, w.ns)
	on := func(p corev1.Pod, ready bool) string { // as Kubernetes itself writes it
		return fmt.Sprintf("{addresses: [%q], conditions: {ready: %v, serving: %v}, targetRef: {kind: Pod, namespace: %s, name: %s}}", p.Status.PodIP, ready, ready, p.Namespace, p.Name)
	}
	w.c.MustApply(t, endpoint(w.ns, "steady", 8080, on(steady, true)))
	w.c.RouteCondition(t, w.ns, "flapping", status.ConditionProgrammed, metav1.ConditionTrue)
	w.wants(t, "flapping.example", "/", nil, 200)
	run := loadBeside(t, load.Options{URL: "http://" + w.addr + "/", Host: "flapping.example", Rate: 100})
	const closed = 9 // where nobody listens
	good, dead := endpoint(w.ns, "other", 8080, on(other, true)), endpoint(w.ns, "dead", closed, on(other, true))
	nobody := endpoint(w.ns, "nobody", closed, fmt.Sprintf("{addresses: [%q]}", other.Status.HostIP))
	states := []string{
		good,
		dead,
		endpoint(w.ns, "other", 8080, on(other, false)),
		endpoint(w.ns, "other", 8080, ""),
		good,
		endpoint(w.ns, "dead", closed, ""),
		nobody,
		endpoint(w.ns, "other", 8080, ""),
		endpoint(w.ns, "nobody", closed, ""),
	}
	for range 4 {
		for _, state := range states {
			w.c.MustApply(t, state)
			begun := run.seen().Sent
			run.until(t, "requests meet the state", func(s load.Summary) bool { return s.Sent > begun+15 })
		}
		w.c.MustApply(t, good+dead)
		begun := run.seen().Versions["server"]
		run.until(t, "both endpoints that serve do", func(s load.Summary) bool {
			now := s.Versions["server"]
			return now["v1"] > begun["v1"]+10 && now["v2"] > begun["v2"]+10
		})
	}
	s := run.end()
	noFailure(t, s, 100)
	// The seeded fault: requests did meet those that do not serve.
	retried := 0
	for _, p := range w.c.Pods(t, w.ns, "gateway.networking.k8s.io/gateway-name=edge") {
		retried += from{w.c, w.ns, p.Name}.stat(t, "cluster.out/"+w.ns+"/flapping/80.", "upstream_rq_retry_success")
	}
	t.Logf("%d sent, by %v, %d at the second or third try, slowest %.0f ms", s.Sent, s.Versions["server"], retried, s.Max)
	if retried < 20 {
		t.Errorf("only %d requests went on from an endpoint that does not serve", retried)
	}
}
