// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// TestRootRotation: under load, with new connections and kept ones, the root is replaced. No request
// fails, no container restarts, and in the end nothing is left of the old root: in no namespace, in no
// Secret, in no proxy's certificate. Pods that come up afterwards work.
func TestRootRotation(t *testing.T) {
	c := cluster.Connect(t)
	skew(t, c, 10*time.Second)
	before := roots(t, c, names.SystemNamespace)
	if len(before) != 1 {
		t.Fatalf("%d roots are trusted at the start, want 1", len(before))
	}
	ns := c.Namespace(t, "rotation", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: 2})
	c.Ready(t, ns, "server")
	kept := c.Load(t, ns, true, "-url", "http://server/", "-method", "POST", "-rate", "150", "-duration", "210s", "-workers", "16")
	fresh := c.Load(t, ns, true, "-url", "http://server/", "-method", "POST", "-rate", "50", "-duration", "210s", "-workers", "16", "-new-connections")
	kept.Sent(t, 200)
	fresh.Sent(t, 100)

	began := time.Now()
	rotateRoot(t, c, began.UTC().Format(time.RFC3339Nano))
	took := rotated(t, c, began, 5*time.Minute) // a former intermediate stays for two minutes after it last signed
	t.Logf("the root was replaced in %s", took.Round(time.Second))

	after := roots(t, c, names.SystemNamespace)
	if len(after) != 1 || after[0] == before[0] {
		t.Errorf("%d roots are trusted, among them the old one: %v", len(after), slices.Contains(after, before[0]))
	}
	everywhere(t, c, after)
	c.Deploy(t, ns, cluster.Echo{Name: "later"})
	c.Ready(t, ns, "later")
	noFailure(t, c.Load(t, ns, true, "-url", "http://later/", "-count", "50").Wait(t, time.Minute), 50)
	noFailure(t, kept.Wait(t, 5*time.Minute), 20000)
	noFailure(t, fresh.Wait(t, 5*time.Minute), 5000)
	for _, p := range c.Pods(t, ns, "app=server") {
		for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
			if s.RestartCount > 0 {
				t.Errorf("container %s of %s was restarted", s.Name, p.Name)
			}
		}
	}
}

// skew has the mesh wait less for clocks, as this cluster has but one, until the test ends.
func skew(t *testing.T, c *cluster.Cluster, d time.Duration) {
	t.Helper()
	var former *metav1.Duration
	set := func(ctx context.Context, d *metav1.Duration) error {
		m := &v1alpha1.Mesh{}
		if err := c.Get(ctx, client.ObjectKey{Name: meshName()}, m); err != nil {
			return err
		}
		former = m.Spec.Certificates.MaxClockSkew
		old := client.MergeFrom(m.DeepCopy())
		m.Spec.Certificates.MaxClockSkew = d
		return c.Patch(ctx, m, old)
	}
	if err := set(t.Context(), &metav1.Duration{Duration: d}); err != nil {
		t.Fatal(err)
	}
	back := former
	t.Cleanup(func() {
		if err := set(context.Background(), back); err != nil { // the test's own context has ended
			t.Error(err)
		}
	})
}

func rotateRoot(t *testing.T, c *cluster.Cluster, value string) {
	t.Helper()
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, names.AnnotationRotateRoot, value))
	if err := c.Patch(t.Context(), &v1alpha1.Mesh{ObjectMeta: metav1.ObjectMeta{Name: meshName()}}, patch); err != nil {
		t.Fatal(err)
	}
}

// rotated waits until the change of the root that began then is completed.
func rotated(t *testing.T, c *cluster.Cluster, began time.Time, patience time.Duration) time.Duration {
	t.Helper()
	var seen []string
	cluster.Eventually(t, patience, "the root is replaced", func() error {
		st := c.Mesh(t, meshName()).Status.Certificates
		if st == nil || st.Started.Before(&metav1.Time{Time: began.Add(-2 * time.Second)}) {
			return fmt.Errorf("not begun: %+v", st)
		}
		if len(seen) == 0 || seen[len(seen)-1] != string(st.Phase) {
			seen = append(seen, string(st.Phase))
			t.Logf("%s after %s: %d of %d proxies; %s", st.Phase, time.Since(began).Round(time.Second), st.Done, st.Proxies, st.Message)
		}
		if st.Phase != v1alpha1.RotationCompleted {
			return fmt.Errorf("%s: %s", st.Phase, st.Message)
		}
		return nil
	})
	return time.Since(began)
}

// roots are the certificates of a namespace's bundle.
func roots(t *testing.T, c *cluster.Cluster, ns string) []string {
	t.Helper()
	cm := &corev1.ConfigMap{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: names.TrustConfigMap}, cm); err != nil {
		t.Fatal(err)
	}
	return blocks([]byte(cm.Data[names.TrustKey]))
}

func blocks(text []byte) []string {
	var out []string
	for {
		var b *pem.Block
		if b, text = pem.Decode(text); b == nil {
			return out
		}
		out = append(out, string(b.Bytes))
	}
}

// everywhere waits until these are the only roots there are, in the ConfigMaps of all namespaces and in Secrets.
func everywhere(t *testing.T, c *cluster.Cluster, want []string) {
	t.Helper()
	cluster.Eventually(t, 30*time.Second, "nothing is left of another root", func() error {
		l := &corev1.ConfigMapList{}
		if err := c.List(t.Context(), l, client.HasLabels{names.LabelMesh}); err != nil {
			return err
		}
		seen := 0
		for _, cm := range l.Items {
			if cm.Name != names.TrustConfigMap || !cm.DeletionTimestamp.IsZero() {
				continue
			}
			seen++
			if got := blocks([]byte(cm.Data[names.TrustKey])); !slices.Equal(got, want) {
				return fmt.Errorf("namespace %s trusts %d roots that are not the one", cm.Namespace, len(got))
			}
		}
		if seen < 2 {
			return fmt.Errorf("only %d namespaces have roots", seen)
		}
		return keys(t, c, want)
	})
}

// keys looks whether the only self-made root whose key there is, is that one.
func keys(t *testing.T, c *cluster.Cluster, want []string) error {
	t.Helper()
	l := &corev1.SecretList{}
	if err := c.List(t.Context(), l, client.InNamespace(names.SystemNamespace)); err != nil {
		return err
	}
	own := 0
	for _, s := range l.Items {
		if s.Name == names.NextIntermediateSecret {
			return fmt.Errorf("the Secret %s is left behind", s.Name)
		}
		if strings.HasPrefix(s.Name, names.RootSecret) {
			own++
			if !slices.Equal(blocks(s.Data[corev1.TLSCertKey]), want) {
				return fmt.Errorf("the Secret %s holds another root", s.Name)
			}
		}
	}
	if own != 1 {
		return fmt.Errorf("%d self-made roots, want 1", own)
	}
	return nil
}

// TestRootRotationCalledOff: a change that is called off while the new root is being spread, or while
// proxies renew, goes back to the root there was; nobody notices.
func TestRootRotationCalledOff(t *testing.T) {
	c := cluster.Connect(t)
	skew(t, c, 10*time.Second)
	before := roots(t, c, names.SystemNamespace)
	ns := c.Namespace(t, "calledoff", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "server", Replicas: 2})
	c.Ready(t, ns, "server")
	run := c.Load(t, ns, true, "-url", "http://server/", "-method", "POST", "-rate", "100", "-duration", "180s", "-workers", "16", "-new-connections")
	run.Sent(t, 100)
	for _, phase := range []v1alpha1.RotationPhase{v1alpha1.RotationDistributing, v1alpha1.RotationTurningOver} {
		began := time.Now()
		rotateRoot(t, c, began.UTC().Format(time.RFC3339Nano))
		cluster.Eventually(t, 2*time.Minute, "the phase "+string(phase), func() error {
			if st := c.Mesh(t, meshName()).Status.Certificates; st == nil || st.Phase != phase {
				return fmt.Errorf("%+v", st)
			}
			return nil
		})
		rotateRoot(t, c, "")
		cluster.Eventually(t, 3*time.Minute, "the old root is alone again", func() error {
			st := c.Mesh(t, meshName()).Status.Certificates
			if st.Active() {
				return fmt.Errorf("%s: %s", st.Phase, st.Message)
			}
			if got := roots(t, c, names.SystemNamespace); !slices.Equal(got, before) {
				return fmt.Errorf("%d roots", len(got))
			}
			return nil
		})
		t.Logf("called off in %s, back after %s", phase, time.Since(began).Round(time.Second))
		everywhere(t, c, before)
	}
	noFailure(t, run.Wait(t, 4*time.Minute), 10000)
}
