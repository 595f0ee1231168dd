// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package protocol

// AliveFile is locked (flock, exclusive) for as long as a slot's pid 1 lives: it tells a State that
// holds from one that a dead container left behind in the shared directory.
func AliveFile(slot string) string { return SlotDir(slot) + "/alive" }

// EndingFile is made by the preStop hook of a slot ("drain"). The kubelet runs the preStop hooks of
// sidecars at once when it begins to end a pod, before the application's SIGTERM, and sends the
// sidecars' own SIGTERM when the application has gone: so this file means "the application may end
// soon, go on serving but send connections elsewhere".
func EndingFile(slot string) string { return SlotDir(slot) + "/ending" }

// SteerLock is locked (flock, exclusive) by an agent while it looks at the sockets that listen on the
// proxy's ports and says which of them gets new connections, so that two agents don't do so at once.
const SteerLock = RunDir + "/steer.lock"

// ListenersSocket is where the agent of a slot hands its listening sockets (PortAgent, PortReady) to
// the agent that takes over: one connection, one message, JSON Listeners with the sockets attached
// (SCM_RIGHTS) in the order of Names.
func ListenersSocket(slot string) string { return SlotDir(slot) + "/listeners.sock" }

// Listeners goes with the sockets handed over at ListenersSocket.
type Listeners struct {
	// Names are "agent" (names.PortAgent) and "ready" (names.PortReady).
	Names []string `json:"names"`
}

// HoldPath is on names.PortAgent and only for callers inside the pod; it answers an HTTP GET when what the proxy
// stands before may end: the proxy has told clients to go elsewhere and no new request has come for a
// while. Query "max" is the longest wait in seconds, 1..60; without it 10.
const HoldPath = "/hold"
