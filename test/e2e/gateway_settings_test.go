// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

const anyGateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: %[2]q, namespace: %[1]s}
spec:
  gatewayClassName: tulle
  infrastructure: {annotations: {tulle.dev/replicas: "1", tulle.dev/service-type: %[3]s}}
  listeners:
  - {name: http, port: 80, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: %[4]s, namespace: %[1]s}
spec:
  parentRefs: [{name: %[2]q}]
  rules:
  - backendRefs: [{name: server, port: 80}]
`

// TestGatewaysOfAnyNameAndType: a Gateway of any legal name has an address and serves, whatever the type of
// its Service (cases 21 and 22), and who scales it keeps the number (case 23).
func TestGatewaysOfAnyNameAndType(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "any-gateway", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Ports: "[{name: http, port: 80, targetPort: 8080}]"})
	kinds := map[string]string{
		"edge.example": "ClusterIP",
		"1edge":        "NodePort",
		"a-gateway-whose-name-is-as-long-as-some-charts-make-them-by-joining": "LoadBalancer",
	}
	i := 0
	for name, kind := range kinds {
		c.MustApply(t, anyGateway, ns, name, kind, fmt.Sprint("r", i))
		i++
	}
	c.Ready(t, ns, "server")
	for name := range kinds {
		answering(t, "http://"+gatewayAddress(t, c, ns, name)+"/")
	}
	for j := range i {
		c.RouteCondition(t, ns, fmt.Sprint("r", j), status.ConditionProgrammed, metav1.ConditionTrue)
	}

	key := client.ObjectKey{Namespace: ns, Name: names.GatewayResource("edge.example")}
	d := &appsv1.Deployment{}
	if err := c.Get(t.Context(), key, d); err != nil {
		t.Fatal(err)
	}
	two := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}, Spec: autoscalingv1.ScaleSpec{Replicas: 2}}
	if err := c.SubResource("scale").Update(t.Context(), d, client.WithSubResourceBody(two), client.FieldOwner("kubectl")); err != nil {
		t.Fatal(err)
	}
	cluster.Eventually(t, time.Minute, "the second proxy is ready", func() error {
		if err := c.Get(t.Context(), key, d); err != nil {
			return err
		}
		if d.Status.ReadyReplicas != 2 {
			return fmt.Errorf("%d of 2 proxies are ready", d.Status.ReadyReplicas)
		}
		return nil
	})
}
