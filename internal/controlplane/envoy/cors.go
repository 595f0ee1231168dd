// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package envoy

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"tulle.dev/tulle/internal/controlplane/model"
)

// cors answers preflights and says which origins may read what is answered (GEP-1767). Without a policy in the route
// it does nothing.
func cors() httpFilter {
	return httpFilter{
		name: "envoy.filters.http.cors", in: []place{outbound, edge},
		config: func() proto.Message { return &corsv3.Cors{} },
		perRoute: func(r model.Rule) proto.Message {
			if r.CORS == nil {
				return nil
			}
			return corsPolicy(*r.CORS)
		},
	}
}

// corsPolicy makes the policy of a route. Envoy answers "*" with what the browser asked for, which
// suits requests with and without credentials (HTTPCORSFilter: with them "*" may not be sent).
func corsPolicy(c model.CORS) *corsv3.CorsPolicy {
	p := &corsv3.CorsPolicy{
		AllowMethods: strings.Join(c.Methods, ", "),
		AllowHeaders: strings.Join(c.Headers, ", "),
		MaxAge:       strconv.FormatUint(uint64(c.MaxAge), 10),
		// What another origin asks is answered here, without a word of permission; not by the application.
		ForwardNotMatchingPreflights: wrapperspb.Bool(false),
	}
	for _, o := range c.Origins {
		p.AllowOriginStringMatch = append(p.AllowOriginStringMatch, &matcherv3.StringMatcher{
			MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: regex(originPattern(o))},
		})
	}
	// With credentials a browser takes "*" for a header's name, and Gateway API forbids to send it.
	if expose := c.Expose; !c.Credentials || !slices.Contains(expose, "*") {
		p.ExposeHeaders = strings.Join(expose, ", ")
	}
	if c.Credentials {
		p.AllowCredentials = wrapperspb.Bool(true)
	}
	return p
}

// originPattern is an expression for the origins that one of the list stands for. A "*" reaches to the
// left over any number of labels but not over a port; a port that is not written is the scheme's
// (HTTPCORSFilter.allowOrigins), and neither scheme nor host know upper case (RFC 6454, 4).
func originPattern(origin string) string {
	scheme, rest, ok := strings.Cut(origin, "://")
	if !ok {
		return ".*"
	}
	host, port, written := strings.Cut(rest, ":")
	standard := map[string]string{"http": "80", "https": "443"}[strings.ToLower(scheme)]
	switch {
	case !written || port == standard:
		port = "(:" + standard + ")?"
	default:
		port = ":" + regexp.QuoteMeta(port)
	}
	label := `[^/:\[\]]+`
	switch suffix, wild := strings.CutPrefix(host, "*"); {
	case wild && suffix == "":
		host = `([^/:\[\]]+|\[[0-9a-f:.]+\])` // also an IPv6 address
	case wild:
		host = label + regexp.QuoteMeta(suffix)
	default:
		host = regexp.QuoteMeta(host)
	}
	return "(?i)" + regexp.QuoteMeta(scheme) + "://" + host + port
}
