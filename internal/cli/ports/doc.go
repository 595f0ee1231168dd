// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package ports finds the ports of meshed pods that users should know about:
// those that the mesh carries as bytes because nothing declares what they
// speak (Bytes), and those that the API server calls, which mode Strict closes
// (Closed).
//
// What a port speaks and which pods are behind it is decided by the control
// plane's own functions (model.ProtocolOf, gatewayapi.PortProtocol,
// model.Resolve), so that there is one home of each rule.
//
// The package is pure: it reads nothing but a World. Start with World.
package ports
