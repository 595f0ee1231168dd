// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"tulle.dev/tulle/internal/controlplane/model"
)

// preflightWorld is a Service with one route, whose rules have a CORS filter that is known by its maxAge.
const preflightWorld = `
apiVersion: v1
kind: Service
metadata: {namespace: shop, name: web}
spec: {clusterIP: 10.96.0.1, ports: [{name: http, port: 80}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {namespace: shop, name: r, generation: 1, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules:
`

// TestPreflights: the rule that would get the request a browser asks for also answers the question,
// whatever method, headers and query it matches.
func TestPreflights(t *testing.T) {
	rule := func(age int, match string) string {
		out := "  - backendRefs: [{name: web, port: 80}]\n    matches: [" + match + "]\n"
		if age > 0 {
			out += fmt.Sprintf("    filters: [{type: CORS, cors: {allowOrigins: [\"https://a.example\"], maxAge: %d}}]\n", age)
		}
		return out
	}
	preflight := func(method, headers string) map[string]string {
		h := map[string]string{":method": "OPTIONS", "origin": "https://a.example", "access-control-request-method": method}
		if headers != "" {
			h["access-control-request-headers"] = headers
		}
		return h
	}
	const get, put = "{path: {value: /get}, method: GET}", "{path: {value: /get}, method: PUT}"
	const any, options, root = "{path: {value: /get}}", "{path: {value: /get}, method: OPTIONS}", "{path: {value: /}}"
	const token = "{path: {value: /get}, headers: [{name: X-Token, value: a}]}"
	const two = "{path: {value: /get}, method: PUT, headers: [{name: X-Token, value: a}, {name: X-Also, value: b}]}"
	const cookie = "{path: {value: /get}, headers: [{name: Cookie, value: a=1}]}"
	const query = "{path: {value: /get}, queryParams: [{name: q, value: a}]}"
	for _, c := range []struct {
		name    string
		rules   string
		request map[string]string
		path    string
		want    uint32 // the maxAge of the rule that gets it; 0: one without CORS; 99: none
	}{
		{"a method", rule(1, get), preflight("GET", ""), "/get", 1},
		{"a method and a broader path", rule(0, root) + rule(1, get), preflight("GET", ""), "/get", 1},
		{"another method", rule(1, get), preflight("PUT", ""), "/get", 99},
		{"two methods", rule(1, get) + rule(2, put), preflight("PUT", ""), "/get", 2},
		{"a method and the rest of the path", rule(0, any) + rule(1, get), preflight("GET", ""), "/get", 1},
		{"the rest of the path", rule(0, any) + rule(1, get), preflight("PUT", ""), "/get", 0},
		{"the rest of the path has a policy of its own", rule(2, any) + rule(1, get), preflight("PUT", ""), "/get", 2},
		{"an explicit OPTIONS", rule(1, get) + rule(0, options), preflight("GET", ""), "/get", 0},
		{"an OPTIONS that is no preflight", rule(1, get), map[string]string{":method": "OPTIONS"}, "/get", 99},
		{"an OPTIONS of the same origin", rule(0, any) + rule(1, get), map[string]string{":method": "OPTIONS", "origin": "https://a.example"}, "/get", 0},
		{"a header", rule(1, token), preflight("GET", "x-token"), "/get", 1},
		{"a header, not named", rule(1, token), preflight("GET", ""), "/get", 1},
		{"a header among others", rule(1, token) + rule(0, any), preflight("GET", "content-type,x-token,x-z"), "/get", 1},
		{"a header and spaces", rule(1, token) + rule(0, any), preflight("GET", "X-A, X-Token"), "/get", 1},
		{"a longer header", rule(1, token) + rule(2, any), preflight("GET", "x-token-2"), "/get", 2},
		{"a header, not named, and the rest", rule(1, token) + rule(2, any), preflight("GET", ""), "/get", 2},
		{"two headers", rule(1, two) + rule(2, put), preflight("PUT", "x-also,x-b,x-token"), "/get", 1},
		{"one of two headers", rule(1, two) + rule(2, put), preflight("PUT", "x-token"), "/get", 2},
		{"a header that no preflight names", rule(1, cookie), preflight("GET", ""), "/get", 1},
		{"a query", rule(1, query) + rule(2, any), preflight("GET", ""), "/get?q=a", 1},
		{"a query, not sent", rule(1, query), preflight("GET", ""), "/get", 1},
		{"a query, not sent, and the rest", rule(1, query) + rule(2, any), preflight("GET", ""), "/get", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, err := readWorld([]byte(preflightWorld+c.rules), strict)
			if err != nil {
				t.Fatal(err)
			}
			out, _ := w.evaluate()
			got := uint32(99)
			for _, r := range out.Frontends[0].Table.Hosts[0].Rules {
				if !taken(t, r.Match, c.request, c.path) {
					continue
				}
				if got = 0; r.CORS != nil {
					got = r.CORS.MaxAge
				}
				break
			}
			if got != c.want {
				t.Errorf("the rule with maxAge %d gets it, want %d", got, c.want)
			}
		})
	}
}

// taken tells whether a request is matched; paths here are all prefixes.
func taken(t *testing.T, m model.Match, headers map[string]string, target string) bool {
	t.Helper()
	path, query, _ := strings.Cut(target, "?")
	ok := m.Method == "" || m.Method == headers[":method"]
	ok = ok && (path == m.Path.Value || strings.HasPrefix(path, m.Path.Value+"/"))
	for _, q := range m.Query {
		ok = ok && query == q.Name+"="+q.Value
	}
	for _, h := range m.Headers {
		v, has := headers[h.Name]
		if h.Regex {
			re, err := regexp.Compile("^(?:" + h.Value + ")$")
			if err != nil {
				t.Fatal(err)
			}
			ok = ok && has && re.MatchString(v)
		} else {
			ok = ok && has && v == h.Value
		}
	}
	return ok
}
