// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

// tableRevision is the Revision of tables of routes, and of what agents put them together of.
const tableRevision = Revision

// otherHostAttempts bounds the search for an endpoint that was not tried yet. Endpoints are drawn
// at random, and one that refuses everything is the least busy: of two, it is drawn three times in four.
const otherHostAttempts = 50
