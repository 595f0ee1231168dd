// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package connlimit bounds the connections that an HTTP server holds and the
// requests that it answers in a second, on a port that any client can reach
// and that some clients need.
//
// A new connection is not refused while its address makes few. When there are
// too many, the one that
// is worth least is closed: a connection of the client address that has the
// most, an idle one before one that has sent nothing yet, that before one
// with a request, and the oldest of these. So a client with few connections
// and short requests, like the kubelet, gets its answers during a flood from
// other addresses.
//
// Requests above the rate (rate.go) end their connection without an answer.
//
// It knows nothing of what is served. Invariant: at most the given number of
// connections of a Limiter are open at any time. Start at limiter.go.
package connlimit
