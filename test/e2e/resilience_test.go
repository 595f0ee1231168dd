// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// meshName is the Mesh that is installed.
func meshName() string {
	if n := os.Getenv("TULLE_MESH"); n != "" {
		return n
	}
	return "tulle"
}

// TestControlPlaneAway: with no replica of the control plane, traffic goes on, pods outside the mesh
// start, and meshed ones fail loudly; once it is back, new pods come up and routes take effect.
func TestControlPlaneAway(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "away", meshed)
	outside := c.Namespace(t, "outside")
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")
	run := c.Load(t, ns, true, "-url", "http://server/", "-method", "POST", "-rate", "200", "-duration", "40s")
	run.Sent(t, 100)

	killControlPlane(t, c)
	c.Deploy(t, outside, cluster.Echo{Name: "plain"})
	c.Ready(t, outside, "plain")
	noFailure(t, run.Wait(t, 2*time.Minute), 5000)
	c.Deploy(t, ns, cluster.Echo{Name: "later"})
	c.Ready(t, ns, "later")
	noFailure(t, c.Load(t, ns, true, "-url", "http://later/", "-count", "50").Wait(t, time.Minute), 50)
}

// killControlPlane deletes every pod of the control plane, without grace.
func killControlPlane(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	deletePods(t, c, client.MatchingLabels{names.LabelApp: names.ControlPlaneService})
}

func deletePods(t *testing.T, c *cluster.Cluster, sel client.MatchingLabels) {
	t.Helper()
	l := &corev1.PodList{}
	if err := c.List(t.Context(), l, client.InNamespace(names.SystemNamespace), sel); err != nil {
		t.Fatal(err)
	}
	if len(l.Items) == 0 {
		t.Fatalf("no pod has the labels %v", sel)
	}
	for _, p := range l.Items {
		if err := c.Delete(t.Context(), &p, client.GracePeriodSeconds(0)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDrift: what the operator owns comes back as it was when somebody deletes or edits it; what
// others wrote on it stays.
func TestDrift(t *testing.T) {
	c := cluster.Connect(t)
	m := c.Mesh(t, meshName())
	key := client.ObjectKey{Namespace: names.SystemNamespace, Name: names.ControlPlaneService}
	svc := &corev1.Service{}
	if err := c.Get(t.Context(), key, svc); err != nil {
		t.Fatal(err)
	}
	t.Run("edited", func(t *testing.T) {
		old := client.MergeFrom(svc.DeepCopy())
		metav1.SetMetaDataAnnotation(&svc.ObjectMeta, "example.org/mine", "stays")
		svc.Spec.Selector = map[string]string{"app": "elsewhere"}
		if err := c.Patch(t.Context(), svc, old, client.FieldOwner("somebody")); err != nil {
			t.Fatal(err)
		}
		cluster.Eventually(t, 30*time.Second, "Service repaired", func() error {
			now := &corev1.Service{}
			if err := c.Get(t.Context(), key, now); err != nil {
				return err
			}
			if now.Spec.Selector[names.LabelApp] != names.ControlPlaneService {
				return fmt.Errorf("selector %v", now.Spec.Selector)
			}
			if now.Annotations["example.org/mine"] != "stays" {
				t.Errorf("somebody else's annotation is gone: %v", now.Annotations)
			}
			return nil
		})
	})
	t.Run("deleted", func(t *testing.T) {
		trust := client.ObjectKey{Namespace: names.SystemNamespace, Name: names.TrustConfigMap}
		cm := &corev1.ConfigMap{}
		if err := c.Get(t.Context(), trust, cm); err != nil {
			t.Fatal(err)
		}
		if err := c.Delete(t.Context(), cm); err != nil {
			t.Fatal(err)
		}
		cluster.Eventually(t, 30*time.Second, "trust bundle back", func() error {
			now := &corev1.ConfigMap{}
			if err := c.Get(t.Context(), trust, now); err != nil {
				return err
			}
			if now.UID == cm.UID || now.Data[names.TrustKey] != cm.Data[names.TrustKey] {
				return fmt.Errorf("not the same bundle yet")
			}
			return nil
		})
	})
	c.Mesh(t, m.Name)
}

// TestOperatorAway: without the operator everything goes on.
func TestOperatorAway(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "operator", meshed)
	deletePods(t, c, client.MatchingLabels{names.LabelApp: names.Operator})
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")
	noFailure(t, c.Load(t, ns, true, "-url", "http://server/", "-count", "100").Wait(t, time.Minute), 100)
	c.Mesh(t, meshName())
}

// TestStrict: with mtls.mode Strict a caller without a proxy is refused and a meshed one is not.
func TestStrict(t *testing.T) {
	c := cluster.Connect(t)
	ns := c.Namespace(t, "strict", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server"})
	c.Ready(t, ns, "server")
	setMode(t, c, v1alpha1.MTLSStrict)
	t.Cleanup(func() { setMode(t, c, v1alpha1.MTLSPermissive) })
	cluster.Eventually(t, 30*time.Second, "plaintext refused", func() error {
		s := c.Load(t, ns, false, "-url", "http://server/", "-count", "20", "-new-connections", "-timeout", "2s").Wait(t, time.Minute)
		if s.OK > 0 {
			return fmt.Errorf("%d of %d plaintext requests were answered", s.OK, s.Sent)
		}
		return nil
	})
	noFailure(t, c.Load(t, ns, true, "-url", "http://server/", "-count", "200").Wait(t, time.Minute), 200)
}

func setMode(t *testing.T, c *cluster.Cluster, mode v1alpha1.MTLSMode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	m := &v1alpha1.Mesh{}
	if err := c.Get(ctx, client.ObjectKey{Name: meshName()}, m); err != nil {
		t.Error(err)
		return
	}
	old := client.MergeFrom(m.DeepCopy())
	m.Spec.MTLS.Mode = mode
	if err := c.Patch(ctx, m, old); err != nil {
		t.Error(err)
	}
}
