// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !faults

package agent

import (
	"time"

	"tulle.dev/tulle/internal/dataplane/envoy"
)

// doom does nothing: only releases built for tests have faults, see faults.go.
func doom(string, *envoy.Process) {}

// patience is that of every release but one that is built for tests.
func patience(_ string, d time.Duration) time.Duration { return d }
