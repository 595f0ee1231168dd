// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package intake bounds what the clients of the ADS port make it hold before a request can be looked at:
// connections, handshakes and the bytes of requests that are not complete. It knows TLS and the frames of
// HTTP/2, and nothing of what is in a request.
//
//	bounded.Listen -> TLS -> conn (conn.go) -> gRPC
//
// Everything is counted by the address that a connection comes from, which is a pod's own: the ADS port
// serves no pod from another address. Before the handshake a connection is a stranger's, after it a peer's.
// Strangers and peers have separate pools (intake.go), so that strangers can't shut out peers.
//
// Invariant: what all connections together hold is bounded. A connection may hold a window of bytes
// (ownBytes). For more it needs one of a few passes, which ends soon. The next pass goes to whose address
// and namespace used least, so a client that needs one rarely waits for one pass to end at most.
package intake
