// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package xds serves resources over incremental (delta) ADS, and to clients that speak no
// other (gRPC) as states of the world (sotw.go). It knows names,
// versions and bytes, and which resource names which; nothing of what they
// mean, and neither Kubernetes nor the model.
//
//	Commit -> Store (entries) -> subscribed sessions -> response -> proxy
//	                                   ^                              |
//	                                   +------- ACK, NACK, names -----+
//
// The Store has one writer. A Server adds a session per stream. A commit marks
// what it changed in the sessions that subscribe to it, and nothing else; each
// session has at most one un-ACKed response per type, so a slow proxy collects
// marks, costs nobody else anything, and gets the latest of each at last.
//
// Invariants, which model_test.go checks against a client that works as Envoy
// does:
//   - Make before break. A resource is sent only after those it needs are
//     ACKed, and a resource is removed only after those that needed it have
//     been replaced or removed, each as far as that stream subscribes to them.
//   - In the end every proxy has the current version of each name that it
//     subscribes to, except those versions that it rejected.
//   - Nothing that is not Authorized leaves the Server, not even the knowledge
//     that it exists.
//
// What a resource is may depend on where the client is: a resource may have Variants for places, under
// the same name, and a session has the places of its client (place.go). Names, rights, ACKs and order know
// nothing of it; "the current revision" of a subscription is the one for the session's places.
//
// For the clients (the agents): a resource of a Leading type lists names to
// subscribe to; a client subscribes to them before it ACKs that resource. A
// resource with a Companion is followed by it, changed or not.
//
// Locks: Store.mu before session.mu; never the other way round. Callbacks run
// outside of both. Start reading at resource.go and store.go; session.go has a
// stream's state, order.go decides what may be sent, server.go is the gRPC side.
package xds
