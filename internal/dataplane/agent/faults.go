// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build faults

package agent

import (
	"time"

	"tulle.dev/tulle/internal/dataplane/envoy"
)

// crashingRelease is one that upgrades must not get past: its Envoy ends soon after each start. It is
// built for tests only (hack/images/faulty.go).
const crashingRelease = "0.2.3"

// doom lets an Envoy of that release end after two seconds.
func doom(release string, p *envoy.Process) {
	if release == crashingRelease {
		time.AfterFunc(2*time.Second, p.Kill)
	}
}
