// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package golden is the harness of tests that compare an output with a file:
//
//	testdata/<case>/in.yaml    what goes in; its first line is a comment with the rule the case shows
//	testdata/<case>/*.yaml     what must come out; written by `go test -update`
//
// It knows files and bytes and nothing of what they mean. Invariant: every file
// of a case is read or compared; one that is not has become stale and fails.
package golden
