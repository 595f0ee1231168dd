// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package report

import "strings"

// Header is Envoy's x-forwarded-client-cert. A proxy of the mesh removes what a client sent and
// writes what it proved itself.
const Header = "X-Forwarded-Client-Cert"

// CallerOf returns the URI of the last element of the header's values, which is the nearest peer;
// empty when there is none. See "x-forwarded-client-cert" in Envoy's documentation of HTTP headers.
func CallerOf(values []string) string {
	if len(values) == 0 {
		return ""
	}
	elements := splitUnquoted(values[len(values)-1], ',')
	for _, pair := range splitUnquoted(elements[len(elements)-1], ';') {
		key, value, ok := strings.Cut(strings.TrimSpace(pair), "=")
		if ok && strings.EqualFold(key, "URI") {
			return strings.Trim(value, "\"")
		}
	}
	return ""
}

// splitUnquoted splits at sep where it is not between double quotes.
func splitUnquoted(s string, sep byte) []string {
	var parts []string
	start, quoted := 0, false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case s[i] == sep && !quoted:
			parts = append(parts, s[start:i])
			start = i + 1
		}
	}
	return append(parts, s[start:])
}
