// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

//go:build !release_0_1

package envoy

import (
	"regexp"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// routedRevision is the Revision of listeners whose requests are routed; 1 had no CORS filter, 2 no
// normal paths beside clients and no filter for what is not normal, 3 took neither methods nor upgrades
// that Envoy does not know, and had no filter for Vary, 4 took header fields of at most 64 KiB, and let
// clients of Gateways be silent for ever.
const routedRevision = "5"

// clientPaths: routes beside a client match RFC 3986's normal form, as those of gateways do. The
// server's proxy makes that form in any case: otherwise /x/../admin would pass by a rule for /admin
// here and be /admin for the application.
func clientPaths() *wrapperspb.BoolValue { return wrapperspb.Bool(true) }

// dotsPlaces are those where routes are.
func dotsPlaces() []place { return []place{outbound, edge} }

// The part of the normal form that Envoy leaves to us is the case of hexadecimal digits: %c3 and %C3
// are the same (RFC 3986, 2.1), and a rule for one must not be passed by with the other.

// eitherCase tells whether a path has percent-encoded octets that can be written in two ways.
func eitherCase(path string) bool {
	return strings.Contains(path, "%") && pathPattern(path) != regexp.QuoteMeta(path)
}

// pathPattern is an expression for a path in all its ways of writing.
func pathPattern(path string) string {
	var b strings.Builder
	for len(path) > 0 {
		n := 1
		if path[0] == '%' && len(path) > 2 && isHex(path[1]) && isHex(path[2]) {
			b.WriteString("%" + inCases(path[1]) + inCases(path[2]))
			n = 3
		} else {
			b.WriteString(regexp.QuoteMeta(path[:1]))
		}
		path = path[n:]
	}
	return b.String()
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c >= 'A' && c <= 'F' || c >= 'a' && c <= 'f' }

func inCases(digit byte) string {
	if digit <= '9' {
		return string(digit)
	}
	return "[" + strings.ToUpper(string(digit)) + strings.ToLower(string(digit)) + "]"
}
