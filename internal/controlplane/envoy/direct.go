// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package envoy

import "tulle.dev/tulle/internal/names"

// directRevision is the Revision of the clusters of single pods; 1 offered bytes alone.
const directRevision = "2"

// directALPN is what a client offers that carries bytes without knowing what they are: the server's proxy
// handles them by what its port speaks.
func directALPN() []string { return []string{names.ALPNAny, names.ALPNTCP} }
