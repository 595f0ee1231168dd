// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !faults

package controlplane

import (
	"testing"

	"tulle.dev/tulle/internal/controlplane/envoy"
	"tulle.dev/tulle/internal/controlplane/xds"
	"tulle.dev/tulle/internal/names"
)

// TestNoFaults: nothing of the releases that are built for tests is in this one, whatever it is told to be.
func TestNoFaults(t *testing.T) {
	in := xds.Set(xds.Resource{Key: xds.Key{TypeURL: envoy.ListenerType, Name: names.Inbound("shop", "cart-0")}, Version: "1", Body: []byte("as it is")})
	for _, release := range []string{"0.2.0", "0.2.4", "0.2.5", "0.2.6"} {
		if out := spoil(release, []xds.Change{in}); len(out) != 1 || string(out[0].Resource.Body) != "as it is" || out[0].Resource.Version != "1" {
			t.Errorf("%s: %+v", release, out)
		}
	}
}
