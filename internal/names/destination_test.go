// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package names

import (
	"net/netip"
	"testing"
)

// TestDestination: names are read back as they were, and only in the one way in which Envoy writes them.
func TestDestination(t *testing.T) {
	for _, s := range []string{"10.0.0.1:80", "[fd00::1]:65535", "255.255.255.255:1"} {
		a := netip.MustParseAddrPort(s)
		name := Destination(a)
		if name != "to/"+s || !IsDestination(name) || !IsOnDemand(name) {
			t.Errorf("%s is %q", s, name)
		}
		if got, err := ParseDestination(name); err != nil || got != a {
			t.Errorf("%q is read as %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "to/", "to/10.0.0.1", "to/10.0.0.1:0", "to/10.0.0.1:080", "to/10.0.0.1:99999", "to/name:80", "to/fd00::1:80", "to/[fd00:0::1]:80", "to/[fe80::1%eth0]:80", "out/a/b/1"} {
		if a, err := ParseDestination(name); err == nil {
			t.Errorf("%q is read as %v", name, a)
		}
	}
	if !IsOnDemand(Account("shop", "web")) || IsOnDemand(SAN("shop", "web")) {
		t.Error("IsOnDemand is wrong about secrets")
	}
}
