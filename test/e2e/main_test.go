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
