// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package release

// Current is the version this source tree builds.
const Current = "0.2.0"

// built are the releases that this one knows by itself, the oldest first.
func built() Catalog { return Catalog{release010(), release020()} }
