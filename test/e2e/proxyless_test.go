// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// program is a pod whose application is a client of the control plane itself, as docs/guides/grpc-without-proxy.md says.
const program = `
apiVersion: v1
kind: ServiceAccount
metadata: {name: batch, namespace: %[1]s}
---
apiVersion: v1
kind: Pod
metadata: {name: batch, namespace: %[1]s, labels: {app: batch, tulle.dev/client: grpc}}
spec:
  serviceAccountName: batch
  initContainers:
  - name: tulle-client
    image: %[3]s
    imagePullPolicy: IfNotPresent
    command: [/tulle-proxy, client]
    restartPolicy: Always
    startupProbe: {exec: {command: [/tulle-proxy, client, -check]}, periodSeconds: 1, failureThreshold: 120}
    env:
    - {name: TULLE_POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: TULLE_POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
    - {name: TULLE_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    volumeMounts:
    - {name: tulle, mountPath: /var/run/tulle}
    - {name: token, mountPath: /var/run/secrets/tulle.dev/token}
    - {name: trust, mountPath: /var/run/secrets/tulle.dev/trust}
  containers:
  - name: app
    image: tulle.local/proxyless:%[2]s
    imagePullPolicy: IfNotPresent
    args: [wait]
    env:
    - {name: GRPC_XDS_BOOTSTRAP, value: /var/run/tulle/bootstrap.json}
    - {name: GRPC_EXPERIMENTAL_XDS_SNI, value: "true"}
    volumeMounts: [{name: tulle, mountPath: /var/run/tulle, readOnly: true}]
  volumes:
  - {name: tulle, emptyDir: {medium: Memory}}
  - {name: token, projected: {defaultMode: 0444, sources: [{serviceAccountToken: {path: token, audience: tulle.dev/cluster.local}}]}}
  - {name: trust, configMap: {name: tulle-trust}}
`

// programCalls is what the proxyless app tells.
type programCalls struct {
	OK, Failed        int
	Failures          []string
	Versions, Callers map[string]int
}

// programCall runs calls in the program's pod.
func programCall(ctx context.Context, c *cluster.Cluster, ns string, args ...string) (r programCalls, err error) {
	out := ""
	// The program always prints what happened. On a busy node the kubelet may end the stream before it has passed that on.
	for try := 0; out == "" && try < 2; try++ {
		if out, err = c.Exec(ctx, ns, "batch", "app", append([]string{"/proxyless", "call"}, args...)...); err != nil {
			return r, err
		}
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		return r, fmt.Errorf("read %q: %w", out, err)
	}
	return r, nil
}

func (r *programCalls) add(more programCalls) {
	r.OK, r.Failed, r.Failures = r.OK+more.OK, r.Failed+more.Failed, append(r.Failures, more.Failures...)
}

// programRuns runs calls in the program's pod, 10 s at a time with one channel, as long as the results are
// taken and the test goes on.
func programRuns(t *testing.T, c *cluster.Cluster, ns, target string) <-chan programCalls {
	t.Helper()
	runs, ctx := make(chan programCalls), t.Context()
	go func() {
		for ctx.Err() == nil {
			r, err := programCall(ctx, c, ns, "-for", "10s", target)
			if err != nil {
				r.Failures = append(r.Failures, err.Error())
			}
			select {
			case runs <- r:
			case <-ctx.Done():
			}
		}
	}()
	return runs
}

// TestProxyless: a pod without proxy resolves Services through the control plane, goes by their routes,
// speaks mutual TLS with the servers' proxies as who it is, and loses no call when weights or pods change.
func TestProxyless(t *testing.T) {
	t.Parallel()
	c := cluster.Connect(t)
	ns := c.Namespace(t, "proxyless", meshed)
	deployVersions(t, c, ns)
	c.MustApply(t, program, ns, cluster.Tag(), proxyImage(t, c.Pods(t, ns, "app=server")[0]))
	target := "xds:///server." + ns + ":9090"
	replicas := 1 // of server-v2
	identity := "spiffe://cluster.local/ns/" + ns + "/sa/batch"
	cluster.Eventually(t, 2*time.Minute, "the program calls", func() error {
		r, err := programCall(t.Context(), c, ns, "-n", "10", target)
		if err == nil && (r.OK != 10 || r.Callers[identity] != 10) {
			err = fmt.Errorf("%+v", r)
		}
		return err
	})
	if pods := c.Pods(t, ns, "app=batch"); slices.ContainsFunc(pods[0].Spec.InitContainers, func(i corev1.Container) bool { return i.Name == names.ContainerSlotA }) {
		t.Error("the program got a proxy")
	}
	if r, err := programCall(t.Context(), c, ns, "-n", "5", "-plaintext", target); err != nil || r.OK != 5 || r.Callers[""] != 5 {
		t.Errorf("in plaintext: %+v, %v", r, err)
	}

	meta := metav1.ObjectMeta{Namespace: ns, Name: "split"}
	for kind, route := range map[string]client.Object{"HTTPRoute": &gwapiv1.HTTPRoute{ObjectMeta: meta}, "GRPCRoute": &gwapiv1.GRPCRoute{ObjectMeta: meta}} {
		replicas++
		c.MustApply(t, split, ns, 90, 10, kind, 9090)
		cluster.Eventually(t, 30*time.Second, kind+" is obeyed", func() error {
			r, err := programCall(t.Context(), c, ns, "-n", "200", target)
			if err == nil && r.Versions["v1"] < 150 {
				err = fmt.Errorf("%+v", r)
			}
			return err
		})
		r, err := programCall(t.Context(), c, ns, "-n", "2000", target)
		if err != nil || r.Failed > 0 {
			t.Fatalf("%s: %+v, %v", kind, r, err)
		}
		chiSquared(t, r.Versions, map[string]float64{"v1": 0.9, "v2": 0.1})

		runs := programRuns(t, c, ns, target)
		var all programCalls
		all.add(<-runs) // calls under way before the change
		c.MustApply(t, split, ns, 10, 90, kind, 9090)
		c.Deploy(t, ns, cluster.Echo{Name: "server", Version: "v2", NoService: true, Replicas: replicas})
		cluster.Eventually(t, 2*time.Minute, kind+" is obeyed once it has changed", func() error {
			r := <-runs
			all.add(r)
			if r.Versions["v2"] < r.OK/2 {
				return fmt.Errorf("%+v", r)
			}
			return nil
		})
		if all.OK < 200 || all.Failed > 0 || len(all.Failures) > 0 {
			t.Errorf("%s changed under load: %+v", kind, all)
		}
		if err := c.Delete(t.Context(), route); err != nil {
			t.Fatal(err)
		}
	}

	r, err := programCall(t.Context(), c, ns, "xds:///nothing."+ns+":9090")
	if err != nil || r.Failed != 1 || !strings.Contains(r.Failures[0], "nothing."+ns+":9090") {
		t.Errorf("a Service that does not exist: %+v, %v", r, err)
	}
}

// proxyImage is that of a meshed pod.
func proxyImage(t *testing.T, p corev1.Pod) string {
	t.Helper()
	i := slices.IndexFunc(p.Spec.InitContainers, func(i corev1.Container) bool { return i.Name == names.ContainerSlotA })
	if i < 0 {
		t.Fatalf("pod %s has no proxy", p.Name)
	}
	return p.Spec.InitContainers[i].Image
}
