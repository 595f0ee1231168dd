// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package health judges what is seen in the cluster: whether the certificates
// can be used, and whether a Deployment serves. It says what is wrong in words
// that tell what to do next.
//
// Pure: the clock and everything seen come in as values. Invariant: the same
// facts give the same words, so a condition never flaps while nothing changes.
// Start at Certificates and Deployment.
package health

// Verdict is a judgement, in the form of a condition.
type Verdict struct {
	Good            bool
	Reason, Message string
}
