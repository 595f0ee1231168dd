// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package connlimit bounds the connections that an HTTP server holds and the
// requests that it answers in a second, on a port that any client can reach
// and that some clients need.
//
// A new connection is accepted while its address makes few. When there are too
// many, one is closed: of the client address that has the most, an idle
// connection first, then one that has sent nothing yet, then one with a
// request, and of these the oldest. So a client with few connections
// and short requests, like the kubelet, gets its answers during a flood from
// other addresses.
//
// Requests above the rate (rate.go) end their connection without an answer.
//
// It knows nothing of what is served. Invariant: at most the given number of
// connections of a Limiter are open at any time. Start at limiter.go.
package connlimit
