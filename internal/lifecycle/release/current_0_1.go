// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package release

// Current is the version this source tree builds: with the tag release_0_1 the release before, which
// upgrades are tested from. What it generates differently stands in files with the same tag.
const Current = "0.1.0"

// built are the releases that this one knows by itself: of later ones it knows nothing.
func built() Catalog { return Catalog{release010()} }
