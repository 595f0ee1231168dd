// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package e2e

import (
	"fmt"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/testing/cluster"
)

// gatewayAddress waits until a Gateway is programmed and returns its address.
func gatewayAddress(t *testing.T, c *cluster.Cluster, ns, name string) string {
	t.Helper()
	addr := ""
	cluster.Eventually(t, 2*time.Minute, "Gateway "+ns+"/"+name+" programmed", func() error {
		gw := &gwapiv1.Gateway{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: name}, gw); err != nil {
			return err
		}
		if !apimeta.IsStatusConditionTrue(gw.Status.Conditions, "Programmed") || len(gw.Status.Addresses) == 0 {
			return fmt.Errorf("status: %+v", gw.Status)
		}
		addr = gw.Status.Addresses[0].Value
		return nil
	})
	return addr
}
