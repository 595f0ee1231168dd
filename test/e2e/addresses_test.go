// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// addressed is a server behind a load balancer, a Service without ports that gives its pod a name, and in a
// namespace that is not meshed a Service whose endpoints are written by hand.
const addressed = `
apiVersion: v1
kind: Service
metadata: {name: lb, namespace: %[1]s}
spec:
  type: LoadBalancer
  selector: {app: server}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp, port: 7000, targetPort: 7000}]
---
apiVersion: v1
kind: Service
metadata: {name: portless, namespace: %[1]s}
spec: {clusterIP: None, selector: {app: server}}
---
apiVersion: v1
kind: Service
metadata: {name: manual, namespace: %[2]s}
spec: {ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: manual-1, namespace: %[2]s, labels: {kubernetes.io/service-name: manual}}
addressType: IPv4
ports: [{name: http, port: 8080}]
endpoints: [{addresses: ["%[3]s"], conditions: {ready: true}}]
`

// TestAddresses: whatever address of a meshed pod a meshed pod calls, and whatever the namespaces ask for,
// the call is mutual TLS with the caller's identity, in both modes; a pod without a proxy is refused in
// Strict. The mode is the whole mesh's, so the test runs alone.
func TestAddresses(t *testing.T) {
	c := cluster.Connect(t)
	ns, plainNS := c.Namespace(t, "addresses", meshed), c.Namespace(t, "addresses-plain")
	c.Deploy(t, ns, cluster.Echo{Name: "server", Args: []string{"-tcp", ":7000"}})
	c.Deploy(t, ns, cluster.Echo{Name: "client", NoService: true})
	c.Deploy(t, ns, cluster.Echo{Name: "plain", NoService: true, Labels: []string{names.LabelInject + ": " + names.InjectDisabled}})
	c.Deploy(t, plainNS, cluster.Echo{Name: "alone", Labels: []string{names.LabelInject + ": " + names.InjectEnabled}})
	c.Ready(t, ns, "server", "client", "plain")
	c.Ready(t, plainNS, "alone")
	pod := c.Pods(t, ns, "app=server")[0]
	c.MustApply(t, addressed, ns, plainNS, pod.Status.PodIP)
	var lb corev1.Service
	cluster.Eventually(t, time.Minute, "the load balancer has an address", func() error {
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "lb"}, &lb); err != nil || len(lb.Status.LoadBalancer.Ingress) == 0 {
			return fmt.Errorf("%+v %w", lb.Status, err)
		}
		return nil
	})
	c.MustApply(t, `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: alone, namespace: %s}
spec:
  parentRefs: [{group: "", kind: Service, name: alone}]
  rules:
  - filters: [{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-case, value: routed}]}}]
    backendRefs: [{name: alone, port: 80}]
`, plainNS)
	c.RouteCondition(t, plainNS, "alone", "Accepted", metav1.ConditionTrue)
	me, alone, plain := podOf(t, c, ns, "client"), podOf(t, c, plainNS, "alone"), podOf(t, c, ns, "plain")
	address := lb.Status.LoadBalancer.Ingress[0].IP
	try := func(mode v1alpha1.MTLSMode) {
		for name, url := range map[string]string{
			"Service":                  "http://server/",
			"pod":                      "http://" + pod.Status.PodIP + ":8080/",
			"load balancer":            "http://" + address + "/",
			"node port":                fmt.Sprintf("http://%s:%d/", pod.Status.HostIP, lb.Spec.Ports[0].NodePort),
			"endpoints by hand":        "http://manual." + plainNS + "/",
			"headless without ports":   "http://portless:8080/",
			"pod with its own label":   "http://alone." + plainNS + "/",
			"that pod, by its address": "http://" + c.Pods(t, plainNS, "app=alone")[0].Status.PodIP + ":8080/",
		} {
			if d := me.get(t, url); d.Report.Caller != spiffe(ns, "client") {
				t.Errorf("%s, %s: the caller is %q", mode, name, d.Report.Caller)
			}
		}
		if d := me.get(t, "http://alone."+plainNS+"/"); fmt.Sprint(d.Header["X-Case"]) != "[routed]" {
			t.Errorf("%s: the route for a pod with its own label has no effect: %v", mode, d.Header)
		}
		if d := alone.get(t, "http://server."+ns+"/"); d.Report.Caller != spiffe(plainNS, "alone") {
			t.Errorf("%s: from a pod with its own label the caller is %q", mode, d.Report.Caller)
		}
		me.echoes(t, pod.Status.PodIP+":7000", "")
		me.echoes(t, address+":7000", "")
	}
	try(v1alpha1.MTLSPermissive)
	setMode(t, c, v1alpha1.MTLSStrict)
	t.Cleanup(func() { setMode(t, c, v1alpha1.MTLSPermissive) })
	cluster.Eventually(t, 30*time.Second, "plaintext is refused", func() error {
		if d := plain.dial(t, "http", "-timeout", "2s", "http://"+pod.Status.PodIP+":8080/"); d.Status == 200 {
			return fmt.Errorf("a pod without a proxy was answered")
		}
		return nil
	})
	try(v1alpha1.MTLSStrict)
}
