// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/load"
)

// written is a Service whose only endpoint is an address, and a route to it by its name as the path.
const written = `
apiVersion: v1
kind: Service
metadata: {name: %[2]s, namespace: %[1]s}
spec: {ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[2]s-1, namespace: %[1]s, labels: {kubernetes.io/service-name: %[2]s}}
addressType: IPv4
ports: [{name: http, port: %[4]d}]
endpoints: [{addresses: ["%[3]s"], conditions: {ready: true}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /%[2]s}}]
    backendRefs: [{name: %[2]s, port: 80}]
`

// TestEndpointsOfGateways: an EndpointSlice leads a Gateway neither to a meshed pod of another namespace nor to itself,
// by its pod's address or its Service's, while it serves its other routes.
func TestEndpointsOfGateways(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	victim, ns := c.Namespace(t, "edge-victim", meshed), c.Namespace(t, "edge-tenant", meshed)
	c.Deploy(t, victim, cluster.Echo{Name: "server"})
	c.Deploy(t, ns, cluster.Echo{Name: "server", Ports: "[{name: http, port: 80, targetPort: 8080}]"})
	c.MustApply(t, anyGateway, ns, "edge", "ClusterIP", "own")
	c.Ready(t, victim, "server")
	c.Ready(t, ns, "server")
	url := "http://" + gatewayAddress(t, c, ns, "edge")
	answering(t, url+"/")
	svc := &corev1.Service{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: names.GatewayService("edge")}, svc); err != nil {
		t.Fatal(err)
	}
	c.MustApply(t, written, ns, "foreign", c.Pods(t, victim, "app=server")[0].Status.PodIP, 8080)
	c.MustApply(t, written, ns, "pod", c.Pods(t, ns, names.LabelGateway+"="+names.GatewayLabel("edge"))[0].Status.PodIP, 80)
	c.MustApply(t, written, ns, "service", svc.Spec.ClusterIP, 80)
	for _, name := range []string{"foreign", "pod", "service"} {
		c.RouteCondition(t, ns, name, status.ConditionProgrammed, metav1.ConditionTrue)
		s, err := load.Run(t.Context(), load.Options{URL: url + "/" + name, Count: 20, NewConnections: true, Timeout: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if s.Statuses["503"] != 20 {
			t.Errorf("/%s: %v, failures %v, want 20 answers of 503", name, s.Statuses, s.Failures)
		}
	}
	answering(t, url+"/")
}
