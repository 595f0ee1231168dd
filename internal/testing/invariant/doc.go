// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package invariant checks what must be true of every set of xDS resources that
// one proxy may hold, whatever the model they were made from: Envoy would
// reject, or silently misread, a set that breaks a rule here.
//
// It knows Envoy's API and nothing of how resources are made. Start reading at
// Check; each rule is one function with the reason for it.
package invariant
