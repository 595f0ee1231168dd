// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package simulate answers, for a set of xDS resources, what Envoy would do with
// one connection or request: which listener and filter chain take it, which
// route, and with what result.
//
//	World.Connect(Connection) -> Outcome        world.go, chain.go, matcher.go
//	          with a Request  -> route, action  route.go, change.go
//
// It knows Envoy's API and its rules of choice, and nothing of how resources
// are made, so that tests say who gets a request and not what config looks like.
// It covers what Tulle uses; anything else in a resource is an error, never
// ignored. test/envoy checks the simulation itself against the real Envoy.
package simulate
