// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	controlplane "tulle.dev/tulle/internal/cli/cluster"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// TestControlPlaneDeleted: somebody deletes all that the control plane is made of, its pods without
// grace. It comes back, and the pods that run do not notice.
func TestControlPlaneDeleted(t *testing.T) {
	c := cluster.Connect(t)
	m := c.Mesh(t, meshName())
	ns := c.Namespace(t, "deleted", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")
	run := c.Load(t, ns, true, "-url", "http://server/", "-method", "POST", "-rate", "100", "-duration", "40s")
	run.Sent(t, 100)

	here := client.InNamespace(names.SystemNamespace)
	ours := client.MatchingLabels{names.LabelMesh: m.Name}
	var before appsv1.DeploymentList
	if err := c.List(t.Context(), &before, here, ours); err != nil || len(before.Items) == 0 {
		t.Fatalf("%d Deployments, %v", len(before.Items), err)
	}
	for _, o := range []client.Object{&appsv1.Deployment{}, &policyv1.PodDisruptionBudget{}, &corev1.Service{}, &corev1.ServiceAccount{}} {
		if err := c.DeleteAllOf(t.Context(), o, here, ours); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.DeleteAllOf(t.Context(), &admissionv1.MutatingWebhookConfiguration{}, ours); err != nil {
		t.Fatal(err)
	}
	killControlPlane(t, c)
	cluster.Eventually(t, 2*time.Minute, "another control plane", func() error {
		var now appsv1.DeploymentList
		if err := c.List(t.Context(), &now, here, ours); err != nil {
			return err
		}
		for _, d := range now.Items {
			if d.Name == before.Items[0].Name && d.UID != before.Items[0].UID && d.Status.ReadyReplicas > 0 {
				return nil
			}
		}
		return fmt.Errorf("%d Deployments", len(now.Items))
	})
	c.Mesh(t, m.Name)
	noFailure(t, run.Wait(t, 2*time.Minute), 3000)
	c.Deploy(t, ns, cluster.Echo{Name: "later"})
	c.Ready(t, ns, "later")
	noFailure(t, c.Load(t, ns, true, "-url", "http://later/", "-count", "50").Wait(t, time.Minute), 50)
}

// TestLabelledLater: pods that run when their namespace is labelled are counted, and with the policy
// Evict they get their proxy, one after the other.
func TestLabelledLater(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "labelled")
	c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: 2})
	c.Ready(t, ns, "server")
	c.MustApply(t, "{apiVersion: v1, kind: Namespace, metadata: {name: %s, labels: {%s: %s}}}", ns, names.LabelInject, names.InjectEnabled)
	cluster.Eventually(t, time.Minute, "both pods are counted", func() error {
		if m := c.Mesh(t, meshName()); m.Status.Proxies == nil || m.Status.Proxies.Missing < 2 {
			return fmt.Errorf("%+v", m.Status.Proxies)
		}
		return nil
	})
	change(t, c, func(m *v1alpha1.Mesh) { m.Spec.Injection.Missing = v1alpha1.MissingEvict })
	t.Cleanup(func() {
		change(t, c, func(m *v1alpha1.Mesh) { m.Spec.Injection.Missing = v1alpha1.MissingIgnore })
	})
	cluster.Eventually(t, 4*time.Minute, "both have a proxy", func() error {
		var pods corev1.PodList
		if err := c.List(t.Context(), &pods, client.InNamespace(ns), client.HasLabels{names.LabelProxy}); err != nil {
			return err
		}
		if len(pods.Items) != 2 {
			return fmt.Errorf("%d of 2 pods", len(pods.Items))
		}
		return nil
	})
	c.Ready(t, ns, "server")
	cluster.Eventually(t, time.Minute, "nothing is missing", func() error {
		if m := c.Mesh(t, meshName()); m.Status.Proxies.Missing != 0 {
			return fmt.Errorf("%+v", m.Status.Proxies)
		}
		return nil
	})
}

// TestAnotherReplica: the operator adds a replica, and every proxy connects anew, to whichever it
// finds, while requests go on.
func TestAnotherReplica(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "replicas", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: 2})
	c.Ready(t, ns, "server")
	replicas := int32(2)
	if s := c.Mesh(t, meshName()).Status.ControlPlane; s != nil {
		replicas = s.Replicas
	}
	run := c.Load(t, ns, true, "-url", "http://server/", "-method", "POST", "-rate", "100", "-duration", "150s")
	run.Sent(t, 100)
	// Times in the list are those of the cluster's nodes: the newest stream of today is the mark.
	var mark time.Time
	first, err := streams(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range first {
		if s.After(mark) {
			mark = s
		}
	}
	change(t, c, func(m *v1alpha1.Mesh) {
		m.Spec.ControlPlane.Autoscaling = &v1alpha1.Autoscaling{MinReplicas: replicas + 1, MaxReplicas: replicas + 1}
	})
	t.Cleanup(func() { change(t, c, func(m *v1alpha1.Mesh) { m.Spec.ControlPlane.Autoscaling = nil }) })
	cluster.Eventually(t, 2*time.Minute, "one more replica", func() error {
		if s := c.Mesh(t, meshName()).Status.ControlPlane; s == nil || s.ReadyReplicas != replicas+1 || s.Autoscaling == nil {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	cluster.Eventually(t, 4*time.Minute, "every proxy connected anew", func() error {
		now, err := streams(t.Context(), c)
		if err != nil {
			return err
		}
		for pod := range first {
			if since, ok := now[pod]; ok && !since.After(mark) {
				return fmt.Errorf("%s is connected since %v", pod, since)
			}
		}
		return nil
	})
	noFailure(t, run.Wait(t, 5*time.Minute), 10_000)
}

// streams is since when each proxy is connected, by namespace and pod.
func streams(ctx context.Context, c *cluster.Cluster) (map[string]time.Time, error) {
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(names.SystemNamespace), client.MatchingLabels{names.LabelApp: names.ControlPlaneService}); err != nil {
		return nil, err
	}
	replicas, err := controlplane.New(c.Config, "", names.SystemNamespace)
	if err != nil {
		return nil, err
	}
	out := map[string]time.Time{}
	for i := range pods.Items {
		p := &pods.Items[i]
		body, err := replicas.Ask(ctx, p, names.PathProxies, nil)
		if err != nil {
			return nil, fmt.Errorf("ask %s: %w", p.Name, err)
		}
		var answer struct {
			Proxies []struct {
				Namespace, Pod string
				Since          time.Time
			}
		}
		if err := json.Unmarshal(body, &answer); err != nil {
			return nil, fmt.Errorf("read the answer of %s: %w", p.Name, err)
		}
		for _, s := range answer.Proxies {
			if key := s.Namespace + "/" + s.Pod; s.Since.After(out[key]) {
				out[key] = s.Since
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no proxy is connected to %d replicas", len(pods.Items))
	}
	return out, nil
}

// change changes the Mesh; also while the test ends.
func change(t *testing.T, c *cluster.Cluster, how func(*v1alpha1.Mesh)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m := &v1alpha1.Mesh{}
	if err := c.Get(ctx, client.ObjectKey{Name: meshName()}, m); err != nil {
		t.Fatal(err)
	}
	old := client.MergeFrom(m.DeepCopy())
	how(m)
	if err := c.Patch(ctx, m, old); err != nil {
		t.Fatal(err)
	}
}
