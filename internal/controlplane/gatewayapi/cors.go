// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// defaultMaxAge is what a browser may keep an answer for where the filter does not say (HTTPCORSFilter.maxAge), in seconds.
const defaultMaxAge = 5

// allowOrigins reads a CORS filter (GEP-1767).
func (u *rule) allowOrigins(field string, f *gwapiv1.HTTPCORSFilter) {
	c := &model.CORS{Credentials: or(f.AllowCredentials, false), MaxAge: defaultMaxAge}
	for i, o := range f.AllowOrigins {
		if w := checkOrigin(string(o)); w != "" {
			u.refuse(unsupported(fmt.Sprintf("%s.allowOrigins[%d]", field, i), "%s", w))
		}
		c.Origins = append(c.Origins, string(o))
	}
	for i, m := range f.AllowMethods {
		if m != "*" && !slices.Contains(methods(), gwapiv1.HTTPMethod(m)) {
			u.refuse(unsupported(fmt.Sprintf("%s.allowMethods[%d]", field, i), "%q is not supported", m))
		}
		c.Methods = append(c.Methods, string(m))
	}
	names := func(list string, in []gwapiv1.HTTPHeaderName) (out []string) {
		for i, n := range in {
			if n == "" || strings.ContainsFunc(string(n), notToken) {
				u.refuse(unsupported(fmt.Sprintf("%s.%s[%d]", field, list, i), "%q is not a header name", n))
			}
			out = append(out, string(n))
		}
		return out
	}
	c.Headers, c.Expose = names("allowHeaders", f.AllowHeaders), names("exposeHeaders", f.ExposeHeaders)
	for _, l := range []struct {
		field string
		list  []string
	}{{"allowOrigins", c.Origins}, {"allowMethods", c.Methods}, {"allowHeaders", c.Headers}, {"exposeHeaders", c.Expose}} {
		if len(l.list) > 1 && slices.Contains(l.list, "*") && l.field != "exposeHeaders" {
			u.refuse(unsupported(field+"."+l.field, "* stands for everything: write it alone"))
		}
	}
	switch {
	case f.MaxAge < 0:
		u.refuse(unsupported(field+".maxAge", "must be at least 1"))
	case f.MaxAge > 0:
		c.MaxAge = uint32(f.MaxAge)
	}
	u.cors = c
}

// checkOrigin tells what is wrong with an allowed origin; the form is CORSOrigin's.
func checkOrigin(o string) string {
	if o == "*" {
		return ""
	}
	scheme, rest, _ := strings.Cut(o, "://")
	host, port, written := strings.Cut(rest, ":")
	if scheme != "http" && scheme != "https" || host != "*" && !isHost(strings.TrimPrefix(host, "*.")) {
		return fmt.Sprintf("%q is not an origin such as https://shop.example.com, https://*.example.com:8443 or *", o)
	}
	if p, err := strconv.Atoi(port); written && (err != nil || p < 1 || p > 65535) {
		return "the port must be from 1 to 65535"
	}
	return ""
}

func isHost(h string) bool {
	return !slices.ContainsFunc(strings.Split(h, "."), func(label string) bool {
		return label == "" || strings.ContainsFunc(label, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-'
		})
	})
}
