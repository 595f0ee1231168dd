// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package conformance

import (
	"testing"

	"sigs.k8s.io/gateway-api/conformance/tests"
)

// TestChoose: by name, by feature, by both; a choice of nothing is an error and not a success.
func TestChoose(t *testing.T) {
	for _, c := range []struct {
		names, having string
		least, most   int
	}{
		{"", "", 150, 200},
		{"^HTTPRouteCORS$", "", 1, 1},
		{"", "ListenerSet", 10, 30},
		{"Conflict", "ListenerSet, BackendTLSPolicy", 3, 5},
		{"Nothing", "", 0, 0},
		{"(", "", 0, 0},
	} {
		got, err := choose(tests.ConformanceTests, c.names, c.having)
		if len(got) < c.least || len(got) > c.most || (err == nil) != (c.least > 0) {
			t.Errorf("TEST=%s FEATURE=%s: %d tests, %v", c.names, c.having, len(got), err)
		}
	}
}

// TestAddresses: the usable one is of the range and no broadcast address; the other is not of it.
func TestAddresses(t *testing.T) {
	usable, unusable, err := addresses("198.19.128.0/24")
	if err != nil || len(usable) != 1 || usable[0].Value != "198.19.128.253" || len(unusable) != 1 {
		t.Errorf("%+v %+v %v", usable, unusable, err)
	}
	for _, bad := range []string{"198.19.128.0", "fd00::/64"} {
		if _, _, err := addresses(bad); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
