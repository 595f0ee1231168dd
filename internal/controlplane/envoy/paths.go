// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"regexp"
	"strings"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// clientPaths: routes beside a client match RFC 3986's normal form, as those of gateways do. The
// server's proxy makes that form in any case: otherwise /x/../admin would pass by a rule for /admin
// here and be /admin for the application.
func clientPaths() *wrapperspb.BoolValue { return wrapperspb.Bool(true) }

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
