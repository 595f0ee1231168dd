// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"tulle.dev/tulle/internal/names"
)

// lead runs f while this replica holds the Lease, again and again until the context ends.
func lead(ctx context.Context, leases coordinationv1.CoordinationV1Interface, namespace, identity string, log logr.Logger, f func(context.Context)) error {
	for ctx.Err() == nil {
		e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
			Lock: &resourcelock.LeaseLock{
				LeaseMeta:  metav1.ObjectMeta{Namespace: namespace, Name: names.ControlPlaneService},
				Client:     leases,
				LockConfig: resourcelock.ResourceLockConfig{Identity: identity},
			},
			LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
			ReleaseOnCancel: true,
			Name:            names.ControlPlaneService,
			Callbacks: leaderelection.LeaderCallbacks{
				OnStartedLeading: func(ctx context.Context) {
					log.Info("Writing status from now on", "identity", identity)
					f(ctx)
				},
				OnStoppedLeading: func() { log.Info("No longer writing status", "identity", identity) },
			},
		})
		if err != nil {
			return fmt.Errorf("set up leader election: %w", err)
		}
		e.Run(ctx)
	}
	return nil
}
