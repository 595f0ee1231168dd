// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build release_0_1

package envoy

import (
	"cmp"

	"tulle.dev/tulle/internal/controlplane/model"
	"tulle.dev/tulle/internal/names"
)

// meshALPN is the protocol that proxies speak with each other.
func meshALPN(_ model.Backend, version string) []string {
	return []string{cmp.Or(version, names.ALPNTCP)}
}
