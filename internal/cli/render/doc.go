// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package render shows what the injection webhook would do to the pods in a
// file. It calls the webhook's own pure function, so the two can't differ.
//
// It knows YAML and the kinds that hold a pod template; what the mesh's
// settings are is told to it. Invariant: objects without a pod pass through
// in their order, with the same meaning.
package render
