// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/status"
	"tulle.dev/tulle/internal/testing/cluster"
)

// streamed is a route of bytes on a Gateway and on a Service, split over two versions.
const streamed = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: %[1]s}
spec:
  gatewayClassName: tulle
  listeners: [{name: tcp, port: 9000, protocol: TCP}]
---
apiVersion: v1
kind: Service
metadata: {name: db-v1, namespace: %[1]s}
spec: {selector: {app: db, version: v1}, ports: [{name: tcp, port: 9000, targetPort: 9000}]}
---
apiVersion: v1
kind: Service
metadata: {name: db-v2, namespace: %[1]s}
spec: {selector: {app: db, version: v2}, ports: [{name: tcp, port: 9000, targetPort: 9000}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: db, namespace: %[1]s}
spec:
  parentRefs: [{name: front}, {group: "", kind: Service, name: db, port: 9000}]
  rules: [{backendRefs: [{name: db-v1, port: 9000, weight: 1}, {name: db-v2, port: 9000, weight: 0}]}]
`

// TestStreamEdits: connections outlive changes of the weights of the route that they came by for longer
// than the time that proxies give connections that are to end, and no new one is lost.
func TestStreamEdits(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "streams", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "db", Args: []string{"-tcp", ":9000"}, Ports: "[{name: tcp, port: 9000, targetPort: 9000}]"})
	c.Deploy(t, ns, cluster.Echo{Name: "db", Version: "v2", NoService: true, Args: []string{"-tcp", ":9000"}})
	c.Ready(t, ns, "db", "db-v2")
	c.MustApply(t, streamed, ns)
	addr := gatewayAddress(t, c, ns, "front")
	streamsProgrammed(t, c, ns)
	answering(t, "tcp://"+addr+":9000")

	const hold, connections = "50s", 4 // the drain time is 30 s
	held := map[string]*cluster.Run{}
	fresh := map[string]*cluster.Run{}
	for where, url := range map[string]string{"in the mesh": "tcp://db:9000", "by the Gateway": "tcp://" + addr + ":9000"} {
		in := where == "in the mesh"
		held[where] = c.Load(t, ns, in, "-url", url, "-hold", hold, "-workers", fmt.Sprint(connections), "-count", fmt.Sprint(connections))
		fresh[where] = c.Load(t, ns, in, "-url", url, "-rate", "30", "-duration", "10m")
	}
	for _, r := range fresh {
		r.Sent(t, 20)
	}
	const edits = 200
	for i := range edits {
		weights := fmt.Sprintf(`[{"name":"db-v1","port":9000,"weight":%d},{"name":"db-v2","port":9000,"weight":%d}]`, i%3, 1+i%5)
		patch := json.RawMessage(`{"spec":{"rules":[{"backendRefs":` + weights + `}]}}`)
		r := &gwapiv1.TCPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "db"}}
		if err := c.Patch(t.Context(), r, client.RawPatch(types.MergePatchType, patch)); err != nil {
			t.Fatal(err)
		}
		if i%20 == 0 { // some edits meet a proxy that has taken in the last, some do not
			streamsProgrammed(t, c, ns)
		}
	}
	streamsProgrammed(t, c, ns)
	for where, r := range held {
		t.Log("held " + where)
		noFailure(t, r.Wait(t, 2*time.Minute), connections)
	}
	unfailed(t, fresh)
	for where, r := range fresh {
		if err := r.Stop(t.Context()); err != nil {
			t.Errorf("stop %s: %v", where, err)
		}
	}
}

// streamsProgrammed waits until all proxies have the TCPRoute.
func streamsProgrammed(t *testing.T, c *cluster.Cluster, ns string) {
	t.Helper()
	cluster.Eventually(t, time.Minute, "TCPRoute db Programmed", func() error {
		r := &gwapiv1.TCPRoute{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "db"}, r); err != nil {
			return err
		}
		if len(r.Status.Parents) != 2 {
			return fmt.Errorf("parents: %+v", r.Status.Parents)
		}
		for _, p := range r.Status.Parents {
			k := apimeta.FindStatusCondition(p.Conditions, status.ConditionProgrammed)
			if k == nil || k.Status != metav1.ConditionTrue || k.ObservedGeneration != r.Generation {
				return fmt.Errorf("conditions of %s: %+v", p.ParentRef.Name, p.Conditions)
			}
		}
		return nil
	})
}
