// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"strings"

	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	earlyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/early_header_mutation/header_mutation/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Servers of CGI, WSGI, Rack and PHP applications show a header as a variable, in whose name a dash is an
// underscore: x_forwarded_client_cert and x-forwarded-client-cert are both HTTP_X_FORWARDED_CLIENT_CERT. Some
// make an underscore of every character that is neither a letter nor a digit (lighttpd, PHP of dots). So a
// header is forged by any name that differs in such characters alone, in any mixture. Envoy itself compares
// names as HTTP does, and knows none of these for the header that it replaces.

// In names of headers, which Envoy has in lower case.
const (
	separator      = `[^0-9a-z]`
	wrongSeparator = `[^-0-9a-z]`
)

// misspelt is an expression for all names that are like name but for separators, without name itself. Envoy
// matches whole names, with or without the ^; with it, RE2 compares the literal that follows before it does
// anything else, and most names of headers cost next to nothing.
func misspelt(name string) string {
	words := strings.Split(name, "-")
	last := len(words) - 1
	expr := wrongSeparator + words[last]
	for i := last - 1; i > 0; i-- {
		expr = "(?:" + wrongSeparator + strings.Join(words[i:], separator) + "|-" + words[i] + expr + ")"
	}
	return "^" + words[0] + expr
}

// misspeltFamily is misspelt for all names that begin with x, one of the words, and a separator.
func misspeltFamily(words ...string) string {
	word := "(?:" + strings.Join(words, "|") + ")"
	return "^x(?:" + wrongSeparator + word + separator + ".*|-" + word + "(?:" + wrongSeparator + "|-.*" + wrongSeparator + ").*)"
}

// removeForgedIdentities removes what an application could take for the identity of a client.
func removeForgedIdentities(h *hcmv3.HttpConnectionManager) {
	remove(h, misspelt("x-forwarded-client-cert"))
}

// removeForgedHeaders removes what an application could take for a header that a Gateway sets, or removes.
func removeForgedHeaders(h *hcmv3.HttpConnectionManager) {
	remove(h, misspeltFamily("forwarded", "envoy", "tulle"))
}

// remove removes the headers of requests whose names match before anything else looks at the request. It is no
// HTTP filter, which would cost more for each request.
func remove(h *hcmv3.HttpConnectionManager, expression string) {
	h.EarlyHeaderMutationExtensions = []*corev3.TypedExtensionConfig{{
		Name: "envoy.http.early_header_mutation.header_mutation",
		TypedConfig: typed(&earlyv3.HeaderMutation{Mutations: []*mutationv3.HeaderMutation{{
			Action: &mutationv3.HeaderMutation_RemoveOnMatch_{RemoveOnMatch: &mutationv3.HeaderMutation_RemoveOnMatch{
				KeyMatcher: &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(expression)}},
			}},
		}}}),
	}}
}
