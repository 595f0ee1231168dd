// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import "strings"

// GatewayAPIVersion is the release of the Gateway API that Tulle is built for: it has all that Tulle serves.
const GatewayAPIVersion = "v1.7.0"

// GatewayAPIVersions are the releases of the Gateway API that Tulle is tested with, in words.
const GatewayAPIVersions = "v1.3 to v1.7 in the standard channel, v1.5 to v1.7 in the experimental channel"

// SupportsGatewayAPI reports whether Tulle supports the definitions of a release of the Gateway API, "v1.7.0",
// of a channel, "standard" or "experimental". Kinds and fields that a supported release does not have are not
// served, and all else works.
func SupportsGatewayAPI(version, channel string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, patched := strings.Cut(rest, ".")
	if major != "v1" || !patched {
		return false
	}
	switch minor {
	case "3", "4":
		return channel == "standard"
	case "5", "6", "7":
		return channel == "standard" || channel == "experimental"
	}
	return false
}
