// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build faults

package agent

import (
	"time"

	"tulle.dev/tulle/internal/dataplane/envoy"
)

// What is wrong with agents of releases that are built for tests only (hack/images/faulty.go).
const (
	crashingRelease = "0.2.3" // its Envoy ends soon after each start
	cuttingRelease  = "0.2.7" // when it leaves, it does not wait for its connections to end
)

// doom lets an Envoy of that release end after two seconds.
func doom(release string, p *envoy.Process) {
	if release == crashingRelease {
		time.AfterFunc(2*time.Second, p.Kill)
	}
}

// patience is how long an agent of that release waits for connections that get d.
func patience(release string, d time.Duration) time.Duration {
	if release == cuttingRelease {
		return 0
	}
	return d
}
