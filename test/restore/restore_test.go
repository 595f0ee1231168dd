// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package restore

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/cli"
	"tulle.dev/tulle/internal/names"
	"tulle.dev/tulle/internal/testing/cluster"
)

// TestElsewhere: in a cluster that never had a mesh, the restored one has the identities of the first:
// its root, and authorities that the first cluster's root verifies. What it signs is used by pods that
// trust nothing else. A backup of another mesh is refused there.
func TestElsewhere(t *testing.T) {
	second := os.Getenv("TULLE_SECOND")
	if second == "" {
		t.Fatal("this test needs a second cluster: set TULLE_SECOND, or run make restore-elsewhere")
	}
	first := cluster.Connect(t)
	before := first.Mesh(t, os.Getenv("TULLE_MESH"))
	trust := bundle(t, first, names.SystemNamespace)
	key := root(t, first, before).Data[corev1.TLSPrivateKeyKey]
	file := filepath.Join(t.TempDir(), "mesh.yaml")
	must(t, "backup", "-o", file)

	t.Setenv("KUBECONFIG", second)
	there := cluster.Connect(t)
	if err := there.Get(t.Context(), client.ObjectKeyFromObject(before), &v1alpha1.Mesh{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Fatalf("the second cluster has a Mesh, or is not to be reached: %v", err)
	}
	must(t, "restore", "-f", file, "--wait", "--timeout", "8m")
	after := there.Mesh(t, before.Name)
	if a, b := cluster.ActiveRoots(before), cluster.ActiveRoots(after); len(a) == 0 || !slices.Equal(a, b) || after.UID == before.UID || after.Spec.TrustDomain != before.Spec.TrustDomain {
		t.Fatalf("the root of %s was %v, and is %v of %s", before.Spec.TrustDomain, a, b, after.Spec.TrustDomain)
	}
	if !bytes.Equal(key, root(t, there, after).Data[corev1.TLSPrivateKeyKey]) {
		t.Error("the root's key is another one")
	}

	// What the restored control plane signs with is verified by what the first cluster's pods trust.
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(trust)) {
		t.Fatalf("no certificate in %q", trust)
	}
	block, _ := pem.Decode(secret(t, there, names.IntermediateSecret).Data[corev1.TLSCertKey])
	if block == nil {
		t.Fatal("the intermediate is no PEM")
	}
	intermediate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := intermediate.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		t.Errorf("the first cluster's root does not verify the second one's intermediate: %v", err)
	}

	// Pods there get certificates below it, and verify each other by the first cluster's roots alone.
	ns := there.Namespace(t, "restored", names.LabelInject+"="+names.InjectEnabled)
	there.Deploy(t, ns, cluster.Echo{Name: "echo"})
	there.Ready(t, ns, "echo")
	if got := bundle(t, there, ns); strings.TrimSpace(got) != strings.TrimSpace(trust) {
		t.Errorf("pods of the second cluster trust\n%s\nand those of the first\n%s", got, trust)
	}
	if sum := there.Load(t, ns, true, "-url", "http://echo/", "-count", "50").Wait(t, 2*time.Minute); sum.Failed > 0 || sum.OK < 50 {
		t.Errorf("%d of %d requests failed: %v", sum.Failed, sum.Sent, sum.Failures)
	}

	// Once more is nothing more; another mesh's backup is refused, and says why.
	if out := must(t, "restore", "-f", file); strings.Contains(out, "created") {
		t.Errorf("restored twice: %s", out)
	}
	plain := must(t, "backup", "--without-keys")
	other := strings.ReplaceAll(plain, "trustDomain: ", "trustDomain: other.example # ")
	if code, out, errs := tulle(t, other, "restore", "-f", "-", "--without-keys"); code != 2 || !strings.Contains(errs, "the backup is of other.example") {
		t.Errorf("another trust domain: exit %d: %s%s", code, out, errs)
	}
	cluster.Eventually(t, time.Minute, "the restored mesh is Ready", func() error {
		for _, c := range there.Mesh(t, before.Name).Status.Conditions {
			if c.Type == v1alpha1.ConditionReady && c.Status != metav1.ConditionTrue {
				return errors.New(c.Message)
			}
		}
		return nil
	})
}

// tulle runs the command line.
func tulle(t *testing.T, in string, args ...string) (code int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	code = cli.Main(t.Context(), args, cli.Streams{In: strings.NewReader(in), Out: &o, Err: &e})
	return code, o.String(), e.String()
}

func must(t *testing.T, args ...string) string {
	t.Helper()
	code, out, errs := tulle(t, "", args...)
	if code != 0 {
		t.Fatalf("tulle %s: exit %d: %s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// bundle is what the pods of a namespace trust.
func bundle(t *testing.T, c *cluster.Cluster, namespace string) string {
	t.Helper()
	cm := &corev1.ConfigMap{}
	cluster.Eventually(t, time.Minute, "roots in "+namespace, func() error {
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: names.TrustConfigMap}, cm); err != nil {
			return err
		}
		if cm.Data[names.TrustKey] == "" {
			return fmt.Errorf("there are none: %v", cm.Data)
		}
		return nil
	})
	return cm.Data[names.TrustKey]
}

// root is the Secret of the root that signs: after a rotation it is the other of two.
func root(t *testing.T, c *cluster.Cluster, m *v1alpha1.Mesh) *corev1.Secret {
	t.Helper()
	for _, name := range []string{names.RootSecret, names.SecondRootSecret} {
		s := &corev1.Secret{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: names.SystemNamespace, Name: name}, s); err != nil {
			continue // there is one at least
		}
		if block, _ := pem.Decode(s.Data[corev1.TLSCertKey]); block != nil {
			if sum := sha256.Sum256(block.Bytes); slices.Contains(cluster.ActiveRoots(m), hex.EncodeToString(sum[:])) {
				return s
			}
		}
	}
	t.Fatalf("no Secret has one of the roots %v", cluster.ActiveRoots(m))
	return nil
}

func secret(t *testing.T, c *cluster.Cluster, name string) *corev1.Secret {
	t.Helper()
	s := &corev1.Secret{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: names.SystemNamespace, Name: name}, s); err != nil {
		t.Fatal(err)
	}
	return s
}
