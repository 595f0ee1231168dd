// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package main

import (
	"context"
	"errors"
	"os"
	"time"

	"tulle.dev/tulle/internal/dataplane/envoy"
	"tulle.dev/tulle/internal/dataplane/slot"
	"tulle.dev/tulle/internal/protocol"
)

// runAdmin asks the Envoy of the active slot; it may be run in either slot.
func runAdmin(args []string) error {
	if len(args) != 2 {
		return errors.New("usage: tulle-proxy admin METHOD PATH")
	}
	active, err := activeSlot(slot.PodLayout())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return envoy.NewAdmin(protocol.AdminSocket(active)).Raw(ctx, args[0], args[1], os.Stdout)
}

// activeSlot prefers the slot that serves over one that is starting or ending.
func activeSlot(l slot.Layout) (string, error) {
	best := ""
	for _, s := range []string{"a", "b"} {
		state, err := l.State(s)
		if err != nil {
			return "", err
		}
		switch state.Phase {
		case protocol.PhaseReady:
			return s, nil
		case protocol.PhaseStarting, protocol.PhaseDraining:
			best = s
		case protocol.PhaseStandby, protocol.PhaseFailed:
		}
	}
	if best == "" {
		return "", errors.New("no slot of this pod runs Envoy")
	}
	return best, nil
}
