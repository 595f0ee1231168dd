// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

// Package release knows the versions of Tulle that this operator can run:
// their images, and which features of the Gateway API each of them has.
//
// It knows no cluster. Invariant: what a release says about itself never
// depends on which other releases are known. Start at Known.
package release
