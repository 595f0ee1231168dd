// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package facts is what the command line knows about a cluster at one moment:
// plain values that package cluster reads and packages check and status judge.
//
// It holds no clients and no opinions. Invariant: what could not be read is
// in Unread with the reason, and is never mistaken for something that is not
// there.
package facts
