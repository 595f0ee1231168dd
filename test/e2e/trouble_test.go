// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// restartOperator lets the operator read its releases anew.
func restartOperator(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	if err := c.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(names.SystemNamespace), client.MatchingLabels{names.LabelApp: names.Operator}); err != nil {
		t.Error(err)
	}
}

// replicate gives the operator so many replicas, until the test ends.
func replicate(t *testing.T, c *cluster.Cluster, n int) {
	t.Helper()
	scale := func(ctx context.Context, n int) error {
		d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: names.SystemNamespace, Name: names.Operator}}
		return c.Patch(ctx, d, client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, n)))
	}
	was := &appsv1.Deployment{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: names.SystemNamespace, Name: names.Operator}, was); err != nil {
		t.Fatal(err)
	}
	if err := scale(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := scale(context.WithoutCancel(t.Context()), int(*was.Spec.Replicas)); err != nil {
			t.Error(err)
		}
	})
	c.Ready(t, names.SystemNamespace, names.Operator)
}

// killingLeaders kills the operator that leads as soon as the upgrade has gone on, to another phase or wave
// (in the long form also by a proxy), until the returned function is called: in each of its steps another
// operator takes over. Each second one has no time to hand over.
func killingLeaders(t *testing.T, c *cluster.Cluster) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	leaders := make(chan []string, 1)
	go func() {
		var killed []string
		step := ""
		for ; ctx.Err() == nil; time.Sleep(200 * time.Millisecond) {
			lease := &coordinationv1.Lease{}
			if err := c.Get(ctx, client.ObjectKey{Namespace: names.SystemNamespace, Name: names.Operator}, lease); err != nil || lease.Spec.HolderIdentity == nil {
				continue
			}
			leader, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
			if leader == "" || len(killed) > 0 && leader == killed[len(killed)-1] {
				continue
			}
			m := &v1alpha1.Mesh{}
			if err := c.Get(ctx, client.ObjectKey{Name: meshName()}, m); err != nil || m.Status.Upgrade == nil {
				continue
			}
			now := fmt.Sprint(m.Status.Upgrade.Phase, m.Status.Upgrade.Wave)
			if full() {
				now += fmt.Sprint(" ", m.Status.Upgrade.Replaced)
			}
			if now == step {
				continue
			}
			step = now
			grace := client.GracePeriodSeconds(int64(30 * (len(killed) % 2)))
			if err := c.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: names.SystemNamespace, Name: leader}}, grace); err == nil {
				killed = append(killed, leader)
			}
		}
		leaders <- killed
	}()
	return func() {
		t.Helper()
		cancel()
		killed := <-leaders
		t.Logf("%d leaders were killed", len(killed))
		if len(killed) < 2 {
			t.Errorf("only these leaders were killed: %q", killed)
		}
	}
}

// withoutAPIServer has the API server answer nobody for twenty seconds, and then end, once the first
// proxies are being replaced. The returned function waits until that is over. On a cluster of the user's
// own it is left alone.
func withoutAPIServer(t *testing.T, c *cluster.Cluster) (wait func()) {
	node := strings.Fields(os.Getenv("TULLE_NODE"))
	if len(node) == 0 {
		t.Log("TULLE_NODE does not tell how to reach the node: the API server stays")
		return func() {}
	}
	over := make(chan error, 1)
	go func() {
		for {
			m := &v1alpha1.Mesh{}
			if err := c.Get(t.Context(), client.ObjectKey{Name: meshName()}, m); err != nil {
				over <- err
				return
			}
			if u := m.Status.Upgrade; m.Status.ObservedGeneration == m.Generation && u != nil && (u.Phase == v1alpha1.PhaseDataPlane && u.Replaced > 0 || u.Finished != nil) {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		out, err := exec.CommandContext(context.WithoutCancel(t.Context()), node[0], append(node[1:], "fail", "kube-apiserver", "--after", "20s")...).CombinedOutput() //nolint:gosec // the Makefile's
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		over <- err
	}()
	wait = sync.OnceFunc(func() {
		if err := <-over; err != nil {
			t.Errorf("the API server could not be stopped: %v", err)
		}
	})
	t.Cleanup(wait) // other tests need it
	return wait
}
