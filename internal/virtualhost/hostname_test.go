// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package virtualhost

import (
	"slices"
	"testing"
)

// TestMeet has the examples of Gateway API's HTTPRouteSpec.hostnames.
func TestMeet(t *testing.T) {
	for _, c := range []struct {
		a, b, want string
		ok         bool
	}{
		{"", "", "", true},
		{"", "a.b", "a.b", true},
		{"a.b", "", "a.b", true},
		{"test.example.com", "*.example.com", "test.example.com", true},
		{"*.example.com", "test.example.com", "test.example.com", true},
		{"*.example.com", "foo.test.example.com", "foo.test.example.com", true},
		{"*.example.com", "*.test.example.com", "*.test.example.com", true},
		{"*.example.com", "*.example.com", "*.example.com", true},
		{"*.example.com", "example.com", "", false},
		{"*.example.com", "test.example.net", "", false},
		{"*.example.com", "badexample.com", "", false},
		{"*.a.com", "*.b.com", "", false},
		{"a.com", "b.com", "", false},
	} {
		if got, ok := Meet(c.a, c.b); got != c.want || ok != c.ok {
			t.Errorf("Meet(%q, %q) = %q, %v", c.a, c.b, got, ok)
		}
	}
}

// TestNarrower: exact names, then longer wildcards, then shorter ones, then any.
func TestNarrower(t *testing.T) {
	want := []string{"a.b", "zz.b", "*.long.example.com", "*.com", "*.org", ""}
	got := slices.Clone(want)
	slices.Reverse(got)
	slices.SortFunc(got, Narrower)
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// TestBroader: what covers a host name, and nothing else, in the order of TestNarrower.
func TestBroader(t *testing.T) {
	for host, want := range map[string][]string{
		"":              {""},
		"com":           {"com", ""},
		"a.example.com": {"a.example.com", "*.example.com", "*.com", ""},
		"*.example.com": {"*.example.com", "*.com", ""},
	} {
		got := Broader(host)
		if !slices.Equal(got, want) || !slices.IsSortedFunc(got, Narrower) {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
		for _, h := range got {
			if !Covers(h, host) {
				t.Errorf("%q does not cover %q", h, host)
			}
		}
	}
}

// TestPattern: what covers a host name is found as Broader lists it.
func TestPattern(t *testing.T) {
	for _, host := range []string{"", "com", "a.example.com", "*.example.com", ".x", "*", "*.", "a..b", "*.*.b"} {
		var want, got []Pattern
		for _, h := range Broader(host) {
			want = append(want, PatternOf(h))
		}
		for p := range PatternOf(host).Covering {
			got = append(got, p)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", host, got, want)
		}
	}
}
