// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package wire reads and writes the few protobuf messages that the agent
// looks into, by hand: delta discovery requests and responses, the Node, a TLS
// Secret, gRPC's health check.
//
// The agent passes resources on without reading them, so it needs no
// generated Envoy types: they would cost more memory than all the rest of it.
// A resource stays the bytes it arrived as. What this package doesn't know in
// a message it drops; what it writes is a valid message of Envoy's API v3
// (https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol).
//
// Invariant: for messages made of the known fields, Parse(Marshal(x)) == x;
// the tests compare both with the generated types.
package wire
