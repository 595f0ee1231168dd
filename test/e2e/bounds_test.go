// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// bounded is a LimitRange that a pod with a proxy as Tulle makes it by itself would not pass.
const bounded = `
apiVersion: v1
kind: LimitRange
metadata: {name: bounds, namespace: %[1]s}
spec:
  limits:
  - type: Container
    min: {cpu: 10m, memory: 20Mi}
    max: {cpu: "1", memory: 512Mi}
    default: {%[2]smemory: 256Mi}
    defaultRequest: {cpu: 20m, memory: 64Mi}
    maxLimitRequestRatio: {memory: "16"}
`

// TestBounds: pods are injected within what their namespace's LimitRange and ResourceQuotas allow, and
// where that can't be, whoever looks for the reason finds what to do.
func TestBounds(t *testing.T) {
	c := cluster.Connect(t)
	c.Mesh(t, meshName())
	t.Run("LimitRange", func(t *testing.T) {
		ns := c.Namespace(t, "bounds", meshed)
		c.MustApply(t, bounded, ns, "cpu: 800m, ")
		c.Deploy(t, ns, cluster.Echo{Name: "server"})
		c.Ready(t, ns, "server")
		noFailure(t, c.Load(t, ns, true, "-url", "http://server/", "-count", "50").Wait(t, time.Minute), 50)
		slots, want := 0, map[string]string{
			names.ContainerSlotA: "38m 80Mi of 800m 512Mi",
			names.ContainerSlotB: "12m 32Mi of 800m 512Mi",
		}
		if !resizable(t, c) {
			want[names.ContainerSlotA], want[names.ContainerSlotB] = "25m 48Mi of 800m 512Mi", "25m 48Mi of 800m 512Mi"
		}
		for _, k := range c.Pods(t, ns, "app=server")[0].Spec.InitContainers {
			r := k.Resources
			got := fmt.Sprint(r.Requests.Cpu(), " ", r.Requests.Memory(), " of ", r.Limits.Cpu(), " ", r.Limits.Memory())
			if want[k.Name] == "" {
				continue
			}
			if slots++; got != want[k.Name] {
				t.Errorf("%s asks for %s, want %s", k.Name, got, want[k.Name])
			}
		}
		if slots != 2 {
			t.Errorf("the pod has %d slots", slots)
		}
	})
	t.Run("ResourceQuota on limits", func(t *testing.T) {
		ns := c.Namespace(t, "quota", meshed)
		c.MustApply(t, `
apiVersion: v1
kind: ResourceQuota
metadata: {name: team, namespace: %[1]s}
spec: {hard: {requests.cpu: 300m, limits.cpu: "2", requests.memory: 600Mi, limits.memory: 6Gi}}
`, ns)
		limits := `
apiVersion: apps/v1
kind: Deployment
metadata: {name: %[2]s, namespace: %[1]s}
spec:
  selector: {matchLabels: {app: %[2]s}}
  replicas: %[4]d
  template:
    metadata: {labels: {app: %[2]s}, annotations: {e2e: "true"%[3]s}}
    spec:
      containers:
      - name: app
        image: tulle.local/echo:%[5]s
        imagePullPolicy: IfNotPresent
        args: [-name, %[2]s, -http, ":8080"]
        resources: {requests: {cpu: 20m, memory: 32Mi}, limits: {cpu: 300m, memory: 64Mi}}
`
		c.MustApply(t, limits, ns, "limitless", "", 1, cluster.Tag())
		event(t, c, ns, "ReplicaSet", "ResourceQuota team", "limits.cpu", names.AnnotationProxyCPULimit, "spec.proxy.resources.limits")
		annotated := `, "` + names.AnnotationProxyCPULimit + `": 500m`
		c.MustApply(t, limits, ns, "limited", annotated, 1, cluster.Tag())
		c.Ready(t, ns, "limited")
		c.MustApply(t, limits, ns, "many", annotated, 4, cluster.Tag())
		event(t, c, ns, "ReplicaSet", "exceeded quota: team", "requested:")
	})
}

// event waits for a warning about an object of the kind that says all of the words.
func event(t *testing.T, c *cluster.Cluster, ns, kind string, words ...string) {
	t.Helper()
	cluster.Eventually(t, time.Minute, fmt.Sprintf("an event of a %s says %q", kind, words), func() error {
		var list corev1.EventList
		if err := c.List(t.Context(), &list, client.InNamespace(ns)); err != nil {
			return err
		}
		var said []string
		for _, e := range list.Items {
			if e.InvolvedObject.Kind != kind || e.Type != corev1.EventTypeWarning {
				continue
			}
			said = append(said, e.Message)
			missing := false
			for _, w := range words {
				missing = missing || !strings.Contains(e.Message, w)
			}
			if !missing {
				return nil
			}
		}
		return fmt.Errorf("said: %q", said)
	})
}
