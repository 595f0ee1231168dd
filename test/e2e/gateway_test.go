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
	"tulle.dev/tulle/test/load"
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

// answering waits until somebody listens at an address: what the cluster's own proxy does about a
// Service with a new endpoint is not Tulle's to know.
func answering(t *testing.T, url string) {
	t.Helper()
	cluster.Eventually(t, 30*time.Second, url+" answers", func() error {
		s, err := load.Run(t.Context(), load.Options{URL: url, Count: 20, NewConnections: true, Timeout: 2 * time.Second})
		if err != nil {
			return err
		}
		if n := s.OK + s.Statuses["404"]; n < 20 {
			return fmt.Errorf("%d of 20 requests: %v", n, s.Failures)
		}
		return nil
	})
}
