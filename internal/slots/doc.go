// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package slots builds the containers and volumes that make a pod a meshed
// pod: the init container, the two proxy slots, and the container that keeps a
// gateway pod alive.
//
// Two parts need the same answer and may not know each other: the injection
// webhook (control plane) and the gateway controller (operator). They share it
// here (docs/adr/0002-slots-package.md).
//
// A running pod's command, environment and mounts can't change, so what these
// functions return is frozen from the first release on: later releases may add
// to it for new pods, and must go on working in pods that lack the addition.
//
// Pure: core/v1, names and protocol only. Invariant: the slots differ in
// nothing but their name, the value of TULLE_SLOT and what they ask for, which
// together is what the user wrote. Start at Spec.
package slots
