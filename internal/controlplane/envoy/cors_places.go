// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package envoy

// corsPlaces are those where routes are. The filter is there whether a route uses it or not: to add it
// with the first route that does would drain the connections of all the others.
func corsPlaces() []place { return []place{outbound, edge} }
