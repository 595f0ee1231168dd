// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package compat holds what an agent and a control plane of the previous release
// said to each other, byte for byte, against the code of today: an agent of
// 0.2.0 must be served by this control plane, and this agent must understand
// what one of 0.2.0 answers. During an upgrade both happen.
//
//	trace_test.go    the records: internal/protocol/testdata/RELEASE
//	agent_test.go    a relay with an Envoy that takes all but one resource
//	record_test.go   makes the records, with the release's own code
//	replay_test.go   plays them to the code of today
//
// The records are made in the sources of the release, into which the recorder
// is copied:
//
//	bin/images record --release 0.2.0
package compat
