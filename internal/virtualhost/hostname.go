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

// Pattern is a host name as a key of maps, in which what covers a host name is found without a comparison of all.
type Pattern struct {
	name string // of a wildcard without its asterisk
	wild bool
}

// PatternOf is the pattern of a host name.
func PatternOf(host string) Pattern {
	switch {
	case host == "":
		return Pattern{wild: true}
	case strings.HasPrefix(host, "*."):
		return Pattern{host[1:], true}
	}
	return Pattern{host, false}
}

// IsWild tells whether the pattern may cover others.
func (p Pattern) IsWild() bool { return p.wild }

// Covering ranges over the patterns that cover it, in the order of Broader: itself first, the one for any last.
func (p Pattern) Covering(yield func(Pattern) bool) {
	if !yield(p) || p == (Pattern{wild: true}) {
		return
	}
	for i := range len(p.name) {
		if wider := (Pattern{p.name[i:], true}); p.name[i] == '.' && wider != p && !yield(wider) {
			return
		}
	}
	yield(Pattern{wild: true})
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
