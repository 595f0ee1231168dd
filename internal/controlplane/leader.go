// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package controlplane

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"tulle.dev/tulle/internal/names"
)

// standing tells whether this replica may write status now, and gives a channel that is closed when
// that may have changed. See feed.serving.
type standing func() (bool, <-chan struct{})

// campaign runs elect while this replica may write status, and ends it as soon as it may not. It
// returns when the context ends or elect fails.
func campaign(ctx context.Context, may standing, elect func(context.Context) error) error {
	for ctx.Err() == nil {
		ok, changed := may()
		if !ok {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		term, end := context.WithCancel(ctx)
		go func() {
			defer end()
			for still := true; still && term.Err() == nil; still, changed = may() {
				select {
				case <-term.Done():
				case <-changed:
				}
			}
		}()
		err := elect(term)
		end()
		if err != nil {
			return err
		}
	}
	return nil
}

// elector has a replica stand for the Lease.
type elector struct {
	leases              coordinationv1.CoordinationV1Interface
	namespace, identity string
	log                 logr.Logger
	// f is run while this replica holds the Lease, never twice at once.
	f func(context.Context)

	one sync.Mutex
}

// elect stands for the Lease until the context ends or the Lease is lost. On its way out it gives the
// Lease back, so that another replica need not wait for it to run out.
func (el *elector) elect(ctx context.Context) error {
	e, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: el.namespace, Name: names.ControlPlaneService},
			Client:     el.leases,
			LockConfig: resourcelock.ResourceLockConfig{Identity: el.identity},
		},
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second,
		ReleaseOnCancel: true,
		Name:            names.ControlPlaneService,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				el.one.Lock()
				defer el.one.Unlock()
				if ctx.Err() != nil {
					return
				}
				el.log.Info("Writing status from now on", "identity", el.identity)
				el.f(ctx)
				el.log.Info("No longer writing status", "identity", el.identity)
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("set up leader election: %w", err)
	}
	e.Run(ctx)
	return nil
}
