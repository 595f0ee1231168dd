// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package connlimit bounds the connections that an HTTP server holds, on a
// port that any client can reach and that some clients need.
//
// A new connection is never refused. When there are too many, the one that
// is worth least is closed: a connection of the client address that has the
// most, an idle one before one that has sent nothing yet, that before one
// with a request, and the oldest of these. So a client with few connections
// and short requests, like the kubelet, gets its answers during a flood from
// other addresses.
//
// It knows nothing of what is served. Invariant: at most the given number of
// connections of a Limiter are open at any time. Start at limiter.go.
package connlimit
