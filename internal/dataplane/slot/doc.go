// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package slot is pid 1 of a proxy slot: it elects the active slot of the pod
// and looks after the agent of the active one.
//
//	the pod's annotation, the other slot's state  ->  decide  ->  start the agent | hand over | stay
//
// A pod has two slots, "a" and "b", that share a directory. The standby is
// this package alone, so it must stay a few megabytes: standard library, names
// and protocol only, no net/http, no encoding of certificates, no Envoy.
//
// Invariants: a slot whose agent or Envoy fails reports it and tries again, it
// never exits for it; the old slot drains only after the new one is Ready, so
// there is always one that serves.
//
// Start reading at decide.go (pure), then run.go.
package slot
