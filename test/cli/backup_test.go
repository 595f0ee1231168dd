// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
	"tulle.dev/tulle/test/load"
)

// meshName is that of the Mesh to test with.
func meshName() string { return os.Getenv("TULLE_MESH") }

// TestBackup: a mesh that was backed up, taken down by force and restored has the root that it had.
// Pods from before go on all the while, and pods from after talk to them. The cluster's other meshed
// pods (the demo's) do not notice more than that.
func TestBackup(t *testing.T) {
	c := cluster.Connect(t)
	before := c.Mesh(t, meshName())
	ns := c.Namespace(t, "backup", meshed)
	c.Deploy(t, ns, cluster.Echo{Name: "old", Replicas: 2})
	c.Ready(t, ns, "old")

	file := filepath.Join(t.TempDir(), "mesh.yaml")
	if code, out, errs := tulle(t, "", "backup", "-o", file); code != 0 || !strings.Contains(errs, "private keys") {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	refuse(t, file)
	// What is there already is left alone, so that this can be done twice.
	if code, out, errs := tulle(t, "", "restore", "-f", file); code != 0 || strings.Contains(out, "created") || strings.Count(out, ": left: ") < 4 {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}

	run := c.Load(t, ns, true, "-url", "http://old/", "-method", "POST", "-new-connections", "-rate", "50", "-duration", "20m")
	run.Sent(t, 100)
	takeDown(t, c, before)
	if code, out, errs := tulle(t, "", "restore", "-f", file, "--dry-run"); code != 0 || !strings.Contains(out, "Mesh "+before.Name+": would be created") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
	code, out, errs := tulle(t, "", "restore", "-f", file, "--wait")
	if code != 0 {
		t.Fatalf("exit %d: %s%s", code, out, errs)
	}
	after := c.Mesh(t, before.Name)
	if a, b := cluster.ActiveRoots(before), cluster.ActiveRoots(after); !slices.Equal(a, b) {
		t.Errorf("the root was %v and is %v", a, b)
	}
	if after.UID == before.UID {
		t.Error("it is the same Mesh: nothing was restored")
	}
	// cert-manager takes to what was restored and does not issue it again.
	for _, name := range []string{names.RootSecret, names.IntermediateSecret} {
		u := &unstructured.Unstructured{}
		u.SetAPIVersion("cert-manager.io/v1")
		u.SetKind("Certificate")
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: names.SystemNamespace, Name: name}, u); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		} else if revision, there, _ := unstructured.NestedInt64(u.Object, "status", "revision"); err == nil && there {
			t.Errorf("Certificate %s was issued again: revision %d", name, revision)
		}
	}

	// From after to before, and from before to after: each checks the other's certificate.
	c.Deploy(t, ns, cluster.Echo{Name: "new"})
	c.Ready(t, ns, "new")
	noFailure(t, c.Load(t, ns, true, "-url", "http://old/", "-count", "50").Wait(t, time.Minute), 50)
	old := run.Pod(t)
	cluster.Eventually(t, time.Minute, "the pod from before knows a Service from after", func() error {
		code, out, errs := tulle(t, "", "proxy", "config", ns+"/"+old.Name, "endpoints", "--name", ns+"/new/80")
		if code != 0 || !strings.Contains(out, ":8080") {
			return fmt.Errorf("exit %d: %s%s", code, out, errs)
		}
		return nil
	})
	sum, _ := run.Progress(t.Context())
	run.Sent(t, sum.Sent+200)
	sum, _ = run.Progress(t.Context())
	noFailure(t, sum, 300)
	t.Logf("%d requests on new connections while there was no mesh and after, %d failed, longest stall %.0f ms", sum.Sent, sum.Failed, sum.LongestStall)
}

// refuse gives restore what it must not take.
func refuse(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, plain, errs := tulle(t, "", "backup", "--without-keys")
	if strings.Contains(plain, "PRIVATE KEY-----") || !strings.Contains(errs, "no private keys") {
		t.Errorf("it holds keys: %s", errs)
	}
	for says, in := range map[string]string{
		"is no backup":                     "apiVersion: v1\nkind: ConfigMap\n",
		"is no YAML":                       "\x00",
		`format "backup.tulle.dev/v9"`:     strings.Replace(string(text), "backup.tulle.dev/v1", "backup.tulle.dev/v9", 1),
		"release 9.9.9":                    strings.Replace(string(text), "\n    version: ", "\n    version: 9.9.9 # ", 1),
		"holds no keys":                    plain,
		"no certificate with its key":      strings.Replace(string(text), "PRIVATE KEY-----\n      M", "PRIVATE KEY-----\n      N", 1),
		"can't be used for trust domain z": strings.ReplaceAll(string(text), "trustDomain: ", "trustDomain: z # "),
		"ClusterRole x":                    strings.Replace(string(text), "objects:\n", "objects:\n- {apiVersion: v1, kind: ClusterRole, metadata: {name: x}}\n", 1),
	} {
		if code, out, errs := tulle(t, in, "restore", "-f", "-", "--dry-run"); code != 2 || !strings.Contains(errs, says) {
			t.Errorf("want %q: exit %d: %s%s", says, code, out, errs)
		}
	}
	other := strings.ReplaceAll(plain, "trustDomain: ", "trustDomain: z # ")
	if code, out, errs := tulle(t, other, "restore", "-f", "-", "--without-keys"); code != 2 || !strings.Contains(errs, "the backup is of z") {
		t.Errorf("exit %d: %s%s", code, out, errs)
	}
}

// takeDown deletes a Mesh although it is in use, and waits until nothing of its keys is left.
func takeDown(t *testing.T, c *cluster.Cluster, m *v1alpha1.Mesh) {
	t.Helper()
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"true"}}}`, names.AnnotationForceDelete))
	if err := c.Patch(t.Context(), m.DeepCopy(), patch); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), m.DeepCopy()); err != nil {
		t.Fatal(err)
	}
	cluster.Eventually(t, 2*time.Minute, "the Mesh is gone", func() error {
		err := c.Get(t.Context(), client.ObjectKeyFromObject(m), &v1alpha1.Mesh{})
		if client.IgnoreNotFound(err) != nil || err == nil {
			return errors.Join(err, errors.New("it is there"))
		}
		for _, name := range []string{names.RootSecret, names.SecondRootSecret, names.IntermediateSecret} {
			if err := c.Get(t.Context(), client.ObjectKey{Namespace: names.SystemNamespace, Name: name}, &corev1.Secret{}); client.IgnoreNotFound(err) != nil || err == nil {
				return errors.Join(err, fmt.Errorf("Secret %s is there", name))
			}
		}
		return nil
	})
}

func noFailure(t *testing.T, s load.Summary, n int) {
	t.Helper()
	if s.Failed > 0 || s.OK < n {
		t.Errorf("%d of %d requests failed (want 0 of at least %d): %v, longest stall %.0f ms", s.Failed, s.Sent, n, s.Failures, s.LongestStall)
	}
}
