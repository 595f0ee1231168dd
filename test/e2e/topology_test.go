// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/load"
)

const elsewhere = "tulle-e2e-elsewhere" // a zone and a node that the cluster does not have

// TestTopology: clients with a proxy, without one, and a Gateway use the endpoints that hints name for the
// zone or node that they are in, with kube-proxy's fall-backs. It labels nodes that have no zone, and so
// does not run beside others.
func TestTopology(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "topology", meshed)
	for _, name := range []string{"here", "there"} {
		c.Deploy(t, ns, cluster.Echo{Name: name, NoService: true})
	}
	c.Deploy(t, ns, cluster.Echo{Name: "client", NoService: true})
	c.Deploy(t, ns, cluster.Echo{Name: "outsider", Labels: []string{"tulle.dev/inject: disabled"}, NoService: true})
	c.MustApply(t, `
apiVersion: v1
kind: Service
metadata: {name: zoned, namespace: %[1]s}
spec: {trafficDistribution: PreferSameZone, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: %[1]s}
spec: {gatewayClassName: tulle, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front, namespace: %[1]s}
spec: {parentRefs: [{name: front}], rules: [{backendRefs: [{name: zoned, port: 80}]}]}
`, ns)
	c.Ready(t, ns, "here", "there", "client", "outsider")
	me, outsider := podOf(t, c, ns, "client"), podOf(t, c, ns, "outsider")
	node := readyPod(t, c, ns, me.pod).Spec.NodeName
	if other := readyPod(t, c, ns, outsider.pod).Spec.NodeName; other != node {
		t.Logf("client on node %s, outsider on %s: hints for nodes are looked at for the client alone", node, other)
	}
	zone := sameZone(t, c)
	address := gatewayAddress(t, c, ns, "front")
	pods := map[string]string{"here": readyPod(t, c, ns, podOf(t, c, ns, "here").pod).Status.PodIP, "there": readyPod(t, c, ns, podOf(t, c, ns, "there").pod).Status.PodIP}

	// endpoint is one of the slice: its hints, and whether it is ready.
	endpoint := func(name, hints string, ready bool) string {
		return fmt.Sprintf(`{addresses: ["%s"], conditions: {ready: %t}, hints: %s, targetRef: {kind: Pod, namespace: %s, name: %s}}`,
			pods[name], ready, hints, ns, podOf(t, c, ns, name).pod)
	}
	forZone := func(z string) string { return `{forZones: [{name: "` + z + `"}]}` }
	forBoth := func(z, n string) string { return `{forZones: [{name: "` + z + `"}], forNodes: [{name: "` + n + `"}]}` }
	slice := func(here, there string) {
		c.MustApply(t, `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: zoned-by-hand, namespace: %s, labels: {kubernetes.io/service-name: zoned, endpointslice.kubernetes.io/managed-by: e2e}}
addressType: IPv4
ports: [{name: http, port: 8080, protocol: TCP}]
endpoints: [%s, %s]
`, ns, here, there)
	}
	// only waits until twenty answers in a row come from one pod; "" wants answers of both.
	only := func(why, want string, ask func() string) {
		t.Helper()
		cluster.Eventually(t, time.Minute, why, func() error {
			got := map[string]int{}
			for range 20 {
				got[ask()]++
			}
			if want != "" && got[want] != 20 || want == "" && (got["here"] == 0 || got["there"] == 0) {
				return fmt.Errorf("answers of %v, want %q", got, want)
			}
			return nil
		})
	}
	pod := func(f from) func() string {
		return func() string { return f.get(t, "http://zoned/").Report.Service }
	}
	gateway := func() string {
		s, err := load.Run(t.Context(), load.Options{URL: "http://" + address + "/", Count: 1})
		if err != nil {
			t.Fatal(err)
		}
		for name := range s.Versions {
			return name
		}
		return fmt.Sprint(s.Statuses)
	}
	all := func(why, want string) {
		t.Helper()
		only(why+": without a proxy", want, pod(outsider))
		only(why+": with a proxy", want, pod(me))
		only(why+": by the Gateway", want, gateway)
	}

	slice(endpoint("here", forZone(zone), true), endpoint("there", forZone(elsewhere), true))
	c.RouteCondition(t, ns, "front", status.ConditionProgrammed, metav1.ConditionTrue)
	all("a hint for the zone", "here")
	slice(endpoint("here", forZone(zone), false), endpoint("there", forZone(elsewhere), true))
	all("none is ready there", "there")
	slice(endpoint("here", forZone(zone), true), endpoint("there", "{}", true))
	all("not every endpoint has a hint", "")
	slice(endpoint("here", forZone(elsewhere), true), endpoint("there", forZone(elsewhere), true))
	all("no endpoint is for the zone", "")
	slice(endpoint("here", forBoth(elsewhere, node), true), endpoint("there", forBoth(zone, elsewhere), true))
	only("hints for nodes come first", "here", pod(me))
}

// sameZone is the zone of all nodes; those without one are given one for the time of the test.
func sameZone(t *testing.T, c *cluster.Cluster) string {
	t.Helper()
	nodes := &corev1.NodeList{}
	if err := c.List(t.Context(), nodes); err != nil {
		t.Fatal(err)
	}
	zone := ""
	for _, n := range nodes.Items {
		z := n.Labels[corev1.LabelTopologyZone]
		if z != "" && zone != "" && z != zone {
			t.Fatalf("nodes in the zones %s and %s: this test needs a cluster with one zone, or without zones", zone, z)
		}
		if z != "" {
			zone = z
		}
	}
	if zone != "" {
		return zone
	}
	label := func(ctx context.Context, name, value string) error {
		n := &corev1.Node{}
		n.Name = name
		patch := fmt.Sprintf(`{"metadata":{"labels":{%q:%s}}}`, corev1.LabelTopologyZone, value)
		return c.Patch(ctx, n, client.RawPatch(types.MergePatchType, []byte(patch)))
	}
	for _, n := range nodes.Items {
		if err := label(t.Context(), n.Name, `"tulle-e2e"`); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := label(context.WithoutCancel(t.Context()), n.Name, "null"); err != nil {
				t.Errorf("take the zone from node %s again: %v", n.Name, err)
			}
		})
	}
	return "tulle-e2e"
}
