// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import "tulle.dev/tulle/internal/names"

// directRevision is the Revision of the clusters of single pods.
const directRevision = Revision

// directALPN is what a client offers to single pods.
func directALPN() []string { return []string{names.ALPNTCP} }
