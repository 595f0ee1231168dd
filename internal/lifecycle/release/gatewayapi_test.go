// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import (
	"testing"

	"sigs.k8s.io/gateway-api/pkg/consts"
)

// TestSupportsGatewayAPI: the releases that test/api installs, in the channels in which it installs them.
func TestSupportsGatewayAPI(t *testing.T) {
	for _, c := range []struct {
		version                string
		standard, experimental bool
	}{
		{"v1.2.1", false, false},
		{"v1.3.0", true, false},
		{"v1.4.1", true, false},
		{"v1.5.1", true, true},
		{"v1.6.3", true, true},
		{"v1.7.0", true, true},
		{"v1.8.0", false, false},
		{"v2.7.0", false, false},
		{"v1.7", false, false},
		{"", false, false},
	} {
		if got := SupportsGatewayAPI(c.version, "standard"); got != c.standard {
			t.Errorf("%s, standard: %v", c.version, got)
		}
		if got := SupportsGatewayAPI(c.version, "experimental"); got != c.experimental {
			t.Errorf("%s, experimental: %v", c.version, got)
		}
		if SupportsGatewayAPI(c.version, "") || SupportsGatewayAPI(c.version, "other") {
			t.Errorf("%s is supported in a channel that there is not", c.version)
		}
	}
	if consts.BundleVersion != GatewayAPIVersion {
		t.Errorf("built with %s", consts.BundleVersion)
	}
}
