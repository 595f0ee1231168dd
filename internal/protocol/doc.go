// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package protocol is the contract between the control plane, the agent and
// the slot: what crosses a socket or a shared file, and nothing else.
//
// A pod that was injected today must still be understood by every later
// release, so fields are only ever added, a missing field means its zero
// value, and readers ignore what they don't know. Standard library and names
// only: the standby slot must stay a few megabytes.
package protocol
