// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

// Current is the version this source tree builds.
const Current = "0.3.0"

// built are the releases that this one knows by itself, the oldest first.
func built() Catalog { return Catalog{release020(), release030()} }
