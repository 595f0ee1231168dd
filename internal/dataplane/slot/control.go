// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package slot

import "tulle.dev/tulle/internal/protocol"

// Slot and agent come from one image, so what passes between them may change from release to release:
// the slot writes Commands to the agent's standard input, one a line, and the agent writes Reports as
// JSON, one a line, to the file descriptor that EnvReport names. The end of the standard input means
// that the slot has died; the agent then stops.

// EnvReport names the file descriptor for Reports in the agent's environment; absent when the agent
// was started by hand.
const EnvReport = "TULLE_REPORT_FD"

// Command is an order from the slot to its agent.
type Command string

// Commands.
const (
	// CommandEnding: the pod is about to end. Go on serving, send clients elsewhere.
	CommandEnding Command = "ending"
	// CommandHandover: the other slot serves. Drain gracefully, then exit.
	CommandHandover Command = "handover"
	// CommandStop: the application has gone. Let what runs end, then exit.
	CommandStop Command = "stop"
)

// Report is what an agent says of itself: PhaseStarting, PhaseReady or PhaseDraining, and why it is not further.
type Report struct {
	Phase   protocol.Phase `json:"phase"`
	Message string         `json:"message,omitempty"`
}
