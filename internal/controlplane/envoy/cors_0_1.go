// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

// routedRevision is the Revision of listeners whose requests are routed.
const routedRevision = Revision

// corsPlaces: none has the filter.
func corsPlaces() []place { return nil }
