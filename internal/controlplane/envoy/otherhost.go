// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package envoy

// tableRevision is the Revision of tables of routes, and of what agents put them together of; 1 had fewer
// otherHostAttempts, and matched paths with percent-encoded octets in the one way they were written; 2 had
// no Vary, kept less of a body for retries and waited before them.
const tableRevision = "3"

// otherHostAttempts bounds the search for an endpoint that was not tried yet. Envoy draws two at random
// and takes the less busy one, and one that refuses everything is that always: of three endpoints of
// which two refuse, the third is drawn once in nine times. With 50 attempts one in 360 of the requests
// that had met both met one of them again, and failed.
const otherHostAttempts = 200
