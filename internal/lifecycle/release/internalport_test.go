// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import "testing"

// TestInternalPort: releases up to 0.2.0 lack the port; what this tree builds has it, and so have the releases
// after it.
func TestInternalPort(t *testing.T) {
	for version, want := range map[string]bool{
		"0.1.0": false, "0.1.9": false, "0.2.0-rc.1": false, "0.2.1": true, "0.3.0-rc.1": true, "1.0.0": true,
		Current: true, "": false, "x": false,
	} {
		if got := (Release{Version: version}).InternalPort(); got != want {
			t.Errorf("%q: %v", version, got)
		}
	}
}
