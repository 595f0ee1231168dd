// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import "tulle.dev/tulle/internal/names"

// maxRegexProgram is the largest compiled size of a regular expression, in instructions.
const maxRegexProgram = 65536

// neverPremature is more requests than a connection can have in practice. It fits a floating-point number exactly.
const neverPremature = 1 << 50

// Runtime returns Envoy's runtime settings, which are for the whole process, for a proxy of a kind
// (names.KindSidecar or names.KindGateway).
func Runtime(kind string) map[string]any {
	settings := object{
		// Regular expressions come from users' routes, whose length the API server bounds. Envoy's own
		// bound of 100 instructions would make it reject a whole table for one of about 90 characters.
		"re2.max_program_size.error_level": maxRegexProgram, "re2.max_program_size.warn_level": maxRegexProgram,
	}
	if kind != names.KindGateway {
		// Envoy aborts a connection once 250 of its first 500 requests, or half of more, were reset within two
		// seconds and before an answer. Between proxies one connection has the requests of many clients, and each
		// of them may give up early. Resets of clients without mutual TLS are limited by the options of their
		// filter chain, which Envoy's HTTP/2 library enforces.
		settings["overload.premature_reset_total_stream_count"] = neverPremature
	}
	return object{"layers": []object{{"name": "static", "static_layer": settings}}}
}
