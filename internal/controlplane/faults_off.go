// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !faults

package controlplane

import "tulle.dev/tulle/internal/controlplane/xds"

// spoil does nothing: only releases built for tests have faults, see faults.go.
func spoil(_ string, changes []xds.Change) []xds.Change { return changes }
