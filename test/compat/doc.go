// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package compat holds what an agent and a control plane of the release before
// said to each other, byte for byte, against the code of today: an agent of
// 0.1.0 must be served by this control plane, and this agent must understand
// what one of 0.1.0 answers. During an upgrade both happen.
//
//	trace_test.go    the records: internal/protocol/testdata/RELEASE
//	agent_test.go    a relay with an Envoy that takes all but one resource
//	record_test.go   makes the records, with the release's own code
//	replay_test.go   plays them to the code of today
//
// To record a release anew, in a checkout of its sources into which this
// folder was copied:
//
//	go test ./test/compat -run TestRecord -record DIRECTORY
package compat
