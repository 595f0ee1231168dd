// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"regexp"
	"slices"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// preflights are the matches by which a rule with a CORS filter gets the preflights of its own requests.
// A preflight is an OPTIONS request for the same path. Instead of the method and the headers of the
// request that is to follow it has their names, in Access-Control-Request-Method and -Headers (Fetch, 4.8
// "CORS-preflight fetch"), so a match that asks for a method or a header does not match it.
//
//	match                    takes preflights                                     tried
//	of the rule              that it matches itself                               as the match is
//	exact                    that name the method and the headers of the match    after all matches of a method for the path
//	any (headers or query)   that name the method                                 after all matches for the path
//
// So an explicit match of OPTIONS for the same path takes precedence, and a rule for the same path
// without a method does not hide the policy of the rule whose request is to follow.
func (u *rule) preflights(m match) []match {
	options := string(gwapiv1.HTTPMethodOptions)
	if u.cors == nil || u.redirect != nil || len(u.problems) > 0 || m.Method == options {
		return nil
	}
	own, named := sentInPreflight(m.Headers)
	if m.Method == "" && len(named) == 0 && len(m.Query) == 0 && len(own) == len(m.Headers) {
		return nil // it takes them itself
	}
	asked := model.ValueMatch{Name: "access-control-request-method", Value: ".+", Regex: true}
	if m.Method != "" {
		asked = model.ValueMatch{Name: asked.Name, Value: m.Method}
	}
	added := len(asked.Value)
	for _, n := range named {
		added += len(n.Value)
	}
	ask := []model.ValueMatch{{Name: "origin", Value: ".+", Regex: true}, asked}
	ask = slices.DeleteFunc(ask, func(a model.ValueMatch) bool { // the rule says more of it
		return slices.ContainsFunc(own, func(o model.ValueMatch) bool { return o.Name == a.Name })
	})
	precise := m
	precise.regexSize += 2*added + 8 // a program is no larger than its text, without repetitions and classes
	precise.Method, precise.Headers = options, slices.Concat(ask, named, own)
	// Below any match of a method (rank[3] is never negative there), and among these in the order of the matches.
	precise.rank[2], precise.rank[3], precise.rank[4] = 1, -1, 1_000_000*m.rank[2]+1000*m.rank[3]+m.rank[4]
	if len(m.Headers) == 0 && len(m.Query) == 0 {
		return []match{precise}
	}
	loose := precise
	loose.Headers, loose.Query = slices.Concat(ask, own), nil
	loose.rank[2], loose.rank[3] = -1, 0
	return []match{precise, loose}
}

// sentInPreflight divides matches of headers: own are those of headers that a preflight has as the
// request that follows it has them, named ask for the others by name. Browsers don't name the headers
// that they control, nor those that any page may send (Fetch, 2.2.2 "forbidden request-header",
// "CORS-safelisted request-header"): these are left out, since a preflight says nothing of them.
func sentInPreflight(headers []model.ValueMatch) (own, named []model.ValueMatch) {
	var names []string
	for _, h := range headers {
		switch name := strings.ToLower(h.Name); {
		case name == "host" || name == "origin":
			own = append(own, h)
		case unnamed(name):
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	// Browsers name them sorted, in lower case, each once.
	pattern := "(?i)"
	for _, n := range slices.Compact(names) {
		pattern += `(.*,)?[ \t]*` + regexp.QuoteMeta(n) + `[ \t]*`
		if n != names[len(names)-1] {
			pattern += ","
		}
	}
	if len(names) > 0 {
		named = []model.ValueMatch{{Name: "access-control-request-headers", Value: pattern + "(,.*)?", Regex: true}}
	}
	return own, named
}

func unnamed(header string) bool {
	if strings.HasPrefix(header, "sec-") || strings.HasPrefix(header, "proxy-") || strings.HasPrefix(header, "access-control-") {
		return true
	}
	return slices.Contains([]string{
		"accept", "accept-charset", "accept-encoding", "accept-language", "connection", "content-language", "content-length",
		"content-type", "cookie", "date", "dnt", "expect", "keep-alive", "range", "referer", "te", "trailer",
		"transfer-encoding", "upgrade", "user-agent", "via",
	}, header)
}
