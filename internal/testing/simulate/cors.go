// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package simulate

import (
	"fmt"
	"regexp"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
)

// cors does what Envoy's CORS filter does with a request by the policy of its route; true: it has
// answered. It leaves routes alone that don't lead to a cluster.
func cors(r *routev3.Route, req Request, out *Outcome) (answered bool, err error) {
	config := r.GetTypedPerFilterConfig()["envoy.filters.http.cors"]
	origin := req.Headers["origin"]
	if r.GetTypedPerFilterConfig()["envoy.filters.http.header_mutation"] != nil && r.GetRoute() != nil {
		out.Response = set(out.Response, "vary", "Origin") // the application's own is not known here
	}
	if config == nil || origin == "" || r.GetRoute() == nil {
		return false, nil
	}
	p := &corsv3.CorsPolicy{}
	if err := config.UnmarshalTo(p); err != nil {
		return false, fmt.Errorf("CORS policy of %s: %w", r.GetName(), err)
	}
	asked := req.Headers["access-control-request-method"]
	preflight := req.Method == "OPTIONS" && asked != ""
	allowed := false
	for _, m := range p.GetAllowOriginStringMatch() {
		re, err := regexp.Compile("^(?:" + m.GetSafeRegex().GetRegex() + ")$")
		if err != nil {
			return false, fmt.Errorf("origins of %s: %w", r.GetName(), err)
		}
		allowed = allowed || re.MatchString(origin)
	}
	say := func(name, value string) {
		if value != "" {
			out.Response = set(out.Response, name, value)
		}
	}
	if allowed {
		say("access-control-allow-origin", origin)
		say("access-control-expose-headers", p.GetExposeHeaders())
		if p.GetAllowCredentials().GetValue() {
			say("access-control-allow-credentials", "true")
		}
	}
	if !preflight {
		return false, nil
	}
	out.Status = 200
	say("access-control-allow-methods", echoed(p.GetAllowMethods(), asked))
	say("access-control-allow-headers", echoed(p.GetAllowHeaders(), req.Headers["access-control-request-headers"]))
	say("access-control-max-age", p.GetMaxAge())
	return true, nil
}

// echoed is what is allowed, or what was asked for where everything is.
func echoed(allowed, asked string) string {
	if allowed == "*" {
		return asked
	}
	return allowed
}
