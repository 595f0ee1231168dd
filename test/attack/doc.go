// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package attack is what a client without credentials can do to the ports of a
// proxy: floods of HTTP/2 frames, streams that nobody reads, slow requests,
// garbage, unfinished handshakes, and scrapes.
//
// Every attack lasts until its context is done and then leaves no connection
// open. A Pace bounds what it sends, so that it shows what a server does about
// the attack and not how many processors the machine has.
//
// The server behind the proxy is the echo app, or answers like it: /bytes/N
// with N bytes, /stream with an answer that begins and does not end, and
// /upload when it has read the body. What is asked of a server that has no
// such paths is still asked.
//
// test/envoy runs the attacks against single proxies, the command intruder
// against those of a cluster. Start at target.go; frames.go, connections.go
// and agent.go hold the attacks.
package attack
