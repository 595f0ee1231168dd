// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package virtualhost

import (
	"cmp"
	"slices"
	"strings"
)

// Host names here are exact, "*.example.com" or empty for any.

// Covers tells whether every name that b stands for is one of a. A wildcard stands for one or more labels.
func Covers(a, b string) bool {
	return a == "" || a == b || strings.HasPrefix(a, "*.") && strings.HasSuffix(b, a[1:])
}

// Broader are the host names that cover a host name, itself first, from the most to the least specific.
func Broader(host string) []string {
	if host == "" {
		return []string{""}
	}
	out := []string{host}
	for i := range len(host) {
		if wildcard := "*" + host[i:]; host[i] == '.' && wildcard != host {
			out = append(out, wildcard)
		}
	}
	return append(out, "")
}

// Meet is the host names that a and b have in common, which is one of the two or nothing.
func Meet(a, b string) (string, bool) {
	switch {
	case Covers(a, b):
		return b, true
	case Covers(b, a):
		return a, true
	}
	return "", false
}

// MeetAny tells whether two lists of host names have a name in common.
func MeetAny(as, bs []string) bool {
	return slices.ContainsFunc(as, func(a string) bool {
		return slices.ContainsFunc(bs, func(b string) bool { _, ok := Meet(a, b); return ok })
	})
}

// Narrower orders host names from the most to the least specific: exact ones, wildcards with more
// characters before those with fewer, any; then by alphabet.
func Narrower(a, b string) int {
	if c := cmp.Compare(breadth(a), breadth(b)); c != 0 {
		return c
	}
	if breadth(a) == wild {
		if c := cmp.Compare(len(b), len(a)); c != 0 {
			return c
		}
	}
	return strings.Compare(a, b)
}

const (
	exact = iota
	wild
	anyHost
)

func breadth(h string) int {
	switch {
	case h == "":
		return anyHost
	case strings.HasPrefix(h, "*."):
		return wild
	}
	return exact
}
