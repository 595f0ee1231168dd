// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"regexp"
	"strings"
	"testing"
)

// spelt calls f with name in every spelling whose separators are from the set.
func spelt(name, separators string, f func(string)) {
	before, after, more := strings.Cut(name, "-")
	if !more {
		f(name)
		return
	}
	for _, sep := range separators {
		spelt(after, separators, func(rest string) { f(before + string(sep) + rest) })
	}
}

// TestMisspelt: the expressions match every spelling but the right one, and nothing else.
func TestMisspelt(t *testing.T) {
	const token = "-!#$%&'*+.^_`|~" // what a name may have beside letters and digits (RFC 9110, 5.6.2)
	identity := regexp.MustCompile("^(?:" + misspelt("x-forwarded-client-cert") + ")$")
	family := regexp.MustCompile("^(?:" + misspeltFamily("forwarded", "envoy", "tulle") + ")$")
	n := 0
	spelt("x-forwarded-client-cert", token, func(s string) {
		n++
		want := s != "x-forwarded-client-cert"
		if identity.MatchString(s) != want || family.MatchString(s) != want {
			t.Errorf("%q: %v and %v, want %v", s, identity.MatchString(s), family.MatchString(s), want)
		}
	})
	if want := len(token) * len(token) * len(token); n != want {
		t.Errorf("%d spellings, want %d", n, want)
	}
	for _, name := range []string{"x-forwarded-for", "x-forwarded-proto", "x-envoy-external-address", "x-envoy-retry-on", "x-tulle-unreached"} {
		spelt(name, "-_.~", func(s string) {
			if family.MatchString(s) != (s != name) {
				t.Errorf("%q: %v", s, family.MatchString(s))
			}
		})
	}
	for _, s := range []string{
		"", "x", "x-forwarded-client-cert", "x_forwarded_client_cert2", "y_forwarded_client_cert", "x_forwarded_client", "xx_forwarded_client_cert",
		"x__forwarded_client_cert", ":path", "x_request_id", "x_api_key", "forwarded_client_cert",
	} {
		if identity.MatchString(s) {
			t.Errorf("%q is taken for the identity", s)
		}
	}
	for _, s := range []string{"", "x", ":path", "x-forwarded-for", "x-request_id", "x_api_key", "x-forwardedness_a", "xforwarded_for", "envoy_x"} {
		if family.MatchString(s) {
			t.Errorf("%q is taken for one of the family", s)
		}
	}
}
