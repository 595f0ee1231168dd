// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package render shows what the injection webhook would do to the pods in a
// file. It calls the webhook's own pure function, so the two can't differ.
//
// It knows YAML, JSON and the kinds that hold a pod template; the mesh's
// settings come with Options. Invariant: what is not injected comes out byte
// for byte as it was, whatever else is in the file.
package render
