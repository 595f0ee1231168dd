// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"tulle.dev/tulle/api/v1alpha1"
	"tulle.dev/tulle/internal/testing/cluster"
)

// TestMain gives the Mesh the default way of upgrading: a run that was interrupted in a test of another
// way leaves that behind, and new pods would have one slot.
func TestMain(m *testing.M) {
	if err := upgradeInPlace(); err != nil {
		fmt.Fprintln(os.Stderr, "set spec.upgrade.dataPlane of the Mesh:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func upgradeInPlace() error {
	path := os.Getenv("KUBECONFIG")
	if path == "" {
		return nil // each test says so
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return err
	}
	c, err := client.New(cfg, client.Options{})
	if err != nil {
		return err
	}
	mesh := &v1alpha1.Mesh{}
	mesh.SetName(meshName())
	if err := v1alpha1.AddToScheme(c.Scheme()); err != nil {
		return err
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"upgrade":{"dataPlane":"InPlace"}}}`))
	return client.IgnoreNotFound(c.Patch(context.Background(), mesh, patch))
}

// edit changes the Mesh's spec. It also works in a cleanup, when the test's own context has ended.
func edit(t *testing.T, c *cluster.Cluster, change func(*v1alpha1.Mesh)) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	m := &v1alpha1.Mesh{}
	if err := c.Get(ctx, client.ObjectKey{Name: meshName()}, m); err != nil {
		t.Fatal(err)
	}
	before := client.MergeFrom(m.DeepCopy())
	change(m)
	if err := c.Patch(ctx, m, before); err != nil {
		t.Fatal(err)
	}
}
