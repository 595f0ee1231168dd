// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package release

import "testing"

// TestDifferences: releases up to 0.2.0 lack the internal port, require no intermediates and watch Secrets;
// what this tree builds and the releases after it have the port, require them, and read by name. Of a release without a version nothing is true.
func TestDifferences(t *testing.T) {
	for version, newer := range map[string]bool{
		"0.1.0": false, "0.1.9": false, "0.2.0-rc.1": false, "0.2.0": false, "0.2.1": true, "0.3.0-rc.1": true, Current: true, "1.0.0": true,
	} {
		r := Release{Version: version}
		if r.InternalPort() != newer || r.RequiresIntermediates() != newer || r.RemovesProxies() != newer || r.WatchesSecrets() == newer {
			t.Errorf("%q: port %v, intermediates %v, watches %v", version, r.InternalPort(), r.RequiresIntermediates(), r.WatchesSecrets())
		}
	}
	for _, version := range []string{"", "x"} {
		if r := (Release{Version: version}); r.InternalPort() || r.RequiresIntermediates() || r.RemovesProxies() || r.WatchesSecrets() {
			t.Errorf("%q: port %v, intermediates %v, watches %v", version, r.InternalPort(), r.RequiresIntermediates(), r.WatchesSecrets())
		}
	}
}
