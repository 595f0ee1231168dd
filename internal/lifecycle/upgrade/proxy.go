// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package upgrade

import (
	"time"

	"tulle.dev/tulle/internal/protocol"
)

// Proxy is a slot that is connected to a control plane: what the control plane knows of it, and what
// the slot's agent reports. A pod has two of them for as long as one slot hands over to the other.
// An agent that doesn't report (one of a release before reports) has the zero Phase and no counts.
type Proxy struct {
	Namespace, Pod string
	// Slot is "a" or "b", Version the release of the slot's image, Envoy the version of its Envoy.
	// Each is empty if the control plane doesn't tell it.
	Slot, Version, Envoy string
	// Phase and Message are the slot's own words.
	Phase   protocol.Phase
	Message string
	// Pending is how many resources it does not have in their current version, Rejected how many of
	// them it refused; Nacks are some of the refusals, as "<type> <name>: <Envoy's words>".
	Pending, Rejected int
	Nacks             []string
	// Window is how long Requests and Failures were counted; see protocol.Report.
	Window             time.Duration
	Requests, Failures uint64
	// P50 and P99 are in milliseconds; 0 without requests.
	P50, P99 float64
	// Restarts counts how often Envoy ended by itself since the agent started.
	Restarts uint64
	// Cut: the control plane shortened what the agent reports, which is longer than an agent's report is. Then
	// Phase may be missing, as that of an agent that doesn't report.
	Cut bool
}
