// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

// corsPlaces: none has the filter.
func corsPlaces() []place { return nil }
