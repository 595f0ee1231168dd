// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package debug is the client of a control-plane replica's internal port
// (names.PortInternal): what the operator decides by, and what the command line
// shows.
//
// Invariants: the token is sent only over a connection whose other end has proved
// with a certificate that it is the control plane, and a pod that was made with
// the internal port is never asked in another way. What a pod has is read from its
// spec, which the API server sends and no one on the network can change.
//
// Start with Client.Get.
package debug
