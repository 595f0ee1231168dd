// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package linediff shows what differs between two texts, line by line, as
// "diff -u" does.
//
// It is pure and knows nothing of what the lines mean. Invariant: taking the
// lines with "-" and " " gives the first text, those with "+" and " " the
// second, as far as the context reaches.
package linediff
