// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/internal/testing/cluster"
)

// enough is the number of requests a zero-failure test must see.
const enough = 20000

// rolling is a load that no request of may fail: POST, which no client repeats by itself, so many a second.
func rolling(url string, rate int) []string {
	return []string{"-url", url, "-method", "POST", "-rate", strconv.Itoa(rate), "-count", "20500", "-workers", "32"}
}

// TestRollingRestart: pods come and go under load and no request fails, with an application that
// exits at once on SIGTERM and with one that closes idle connections after a second.
func TestRollingRestart(t *testing.T) {
	c := cluster.Connect(t)
	for name, args := range map[string][]string{"exits at once": {"-exit-at-once"}, "closes idle connections": {"-idle-timeout", "1s"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // with each other, not with other tests
			ns := c.Namespace(t, "rolling", meshed)
			c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: 3, Args: args})
			c.Ready(t, ns, "server")
			run := c.Load(t, ns, true, rolling("http://server/", 350)...)
			run.Sent(t, 500)
			for i := range 2 {
				restart(t, c, ns, "server", i)
				c.Ready(t, ns, "server")
			}
			for _, p := range c.Pods(t, ns, "app=server")[:1] {
				if err := c.Delete(t.Context(), &p); err != nil {
					t.Fatal(err)
				}
			}
			noFailure(t, run.Wait(t, 4*time.Minute), enough)
		})
	}
}

func restart(t *testing.T, c *cluster.Cluster, ns, name string, n int) {
	t.Helper()
	d := &appsv1.Deployment{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, d); err != nil {
		t.Fatal(err)
	}
	old := client.MergeFrom(d.DeepCopy())
	d.Spec.Template.Annotations["e2e-restart"] = fmt.Sprint(n)
	if err := c.Patch(t.Context(), d, old); err != nil {
		t.Fatal(err)
	}
}

// TestNewAccount: a rollout to another service account under load loses nothing: the new identity is
// known to clients before the pods that have it.
func TestNewAccount(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "account", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: 2})
	c.Ready(t, ns, "server")
	run := c.Load(t, ns, true, rolling("http://server/", 450)...)
	run.Sent(t, 500)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: 2, Account: "other"})
	c.Ready(t, ns, "server")
	s := run.Wait(t, 4*time.Minute)
	noFailure(t, s, enough)
}

// TestLoadSeesFailures is the counterpart of the tests above: an application that exits at once, in a
// pod that is deleted without grace, does fail the requests it was answering, and the load says so. Were it to see none here, their
// zeros would mean nothing.
func TestLoadSeesFailures(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "killed", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: 2, Args: []string{"-exit-at-once"}})
	c.Ready(t, ns, "server")
	run := c.Load(t, ns, true, "-url", "http://server/delay/8s", "-method", "POST", "-timeout", "30s", "-rate", "50", "-workers", "1000", "-duration", "15s")
	run.Sent(t, 200)
	victim := c.Pods(t, ns, "app=server")[0]
	if err := c.Delete(t.Context(), &victim, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	s := run.Wait(t, 2*time.Minute)
	if s.Failed == 0 || s.OK == 0 {
		t.Errorf("a pod was killed with requests in it, and %d of %d failed", s.Failed, s.Sent)
	}
	t.Logf("%d of %d failed: %v", s.Failed, s.Sent, s.Failures)
}
