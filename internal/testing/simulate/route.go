// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package simulate

import (
	"fmt"
	"regexp"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// Request is an HTTP request.
type Request struct {
	Method string `json:"method,omitempty"` // "" is GET
	Scheme string `json:"scheme,omitempty"` // "" is what the connection is
	Host   string `json:"host,omitempty"`
	Path   string `json:"path,omitempty"` // with the query; "" is /
	// Headers by lower-case name.
	Headers map[string]string `json:"headers,omitempty"`
}

func (w World) http(h *hcmv3.HttpConnectionManager, c Connection, out *Outcome) error {
	out.HTTP = true
	if c.Request == nil {
		return nil
	}
	req := *c.Request
	if req.Method == "" {
		req.Method = "GET"
	}
	if req.Path == "" {
		req.Path = "/"
	}
	if req.Scheme == "" {
		req.Scheme = "http"
		if out.TLS {
			req.Scheme = "https"
		}
	}
	rc := h.GetRouteConfig()
	if name := h.GetRds().GetRouteConfigName(); name != "" {
		if rc = w.routes[name]; rc == nil {
			return fmt.Errorf("no RouteConfiguration %q", name)
		}
	}
	sent := req.Path
	if h.GetNormalizePath().GetValue() && sent[0] == '/' {
		req.Path = normal(sent)
	}
	if no, err := denied(h, req); no || err != nil {
		out.Status = 403
		return err
	}
	if err := w.Route(rc, req, out); err != nil {
		return err
	}
	if out.Path == "" && req.Path != sent && len(out.Clusters) > 0 {
		out.Path = req.Path
	}
	return nil
}

// Route says what a RouteConfiguration does with a request.
func (w World) Route(rc *routev3.RouteConfiguration, req Request, out *Outcome) error {
	vh := host(rc, req.Host)
	if vh == nil || req.Path[0] != '/' || req.Method == "CONNECT" { // Envoy routes nothing that is no path
		out.Status = 404
		return nil
	}
	for _, r := range vh.GetRoutes() {
		ok, err := matches(r.GetMatch(), req)
		if err != nil {
			return fmt.Errorf("route %s: %w", r.GetName(), err)
		}
		if ok {
			return w.act(vh, r, req, out)
		}
	}
	out.Status = 404
	return nil
}

// host picks a virtual host: exact, then the longest "*suffix", then "*".
func host(rc *routev3.RouteConfiguration, authority string) *routev3.VirtualHost {
	authority = strings.ToLower(authority)
	if rc.GetIgnorePortInHostMatching() {
		if i := strings.LastIndexByte(authority, ':'); i >= 0 && !strings.HasSuffix(authority, "]") {
			authority = authority[:i]
		}
	}
	var found *routev3.VirtualHost
	best := 0
	for _, vh := range rc.GetVirtualHosts() {
		for _, d := range vh.GetDomains() {
			d = strings.ToLower(d)
			score := 0
			switch suffix, wild := strings.CutPrefix(d, "*"); {
			case d == authority:
				score = 1 << 20
			case d == "*":
				score = 1
			case wild && strings.HasSuffix(authority, suffix) && len(authority) > len(suffix):
				score = 1 + len(suffix)
			}
			if score > best {
				found, best = vh, score
			}
		}
	}
	return found
}

func matches(m *routev3.RouteMatch, req Request) (bool, error) {
	if m.GetRuntimeFraction() != nil {
		return false, fmt.Errorf("a share of the requests is left to chance: it is asked of the real Envoy alone")
	}
	path, query, _ := strings.Cut(req.Path, "?")
	ok := false
	switch p := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		ok = strings.HasPrefix(path, p.Prefix)
	case *routev3.RouteMatch_Path:
		ok = path == p.Path
	case *routev3.RouteMatch_PathSeparatedPrefix:
		rest, has := strings.CutPrefix(path, p.PathSeparatedPrefix)
		ok = has && (rest == "" || rest[0] == '/')
	case *routev3.RouteMatch_SafeRegex:
		var err error
		if ok, err = whole(p.SafeRegex, path); err != nil {
			return false, err
		}
	default:
		return false, fmt.Errorf("unknown path match %T", p)
	}
	if !ok {
		return false, nil
	}
	if m.GetGrpc() != nil && !strings.HasPrefix(req.Headers["content-type"], "application/grpc") {
		return false, nil
	}
	for _, h := range m.GetHeaders() {
		v, has := header(req, h.GetName())
		ok, err := value(h.GetStringMatch(), v)
		if err != nil || !has || !ok {
			return false, err
		}
	}
	for _, q := range m.GetQueryParameters() {
		v, has := parameter(query, q.GetName())
		if !has {
			return false, nil
		}
		if ok, err := value(q.GetStringMatch(), v); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// parameter is the first of that name. Envoy decodes neither names nor values.
func parameter(query, name string) (string, bool) {
	for part := range strings.SplitSeq(query, "&") {
		if n, v, _ := strings.Cut(part, "="); n == name {
			return v, true
		}
	}
	return "", false
}

func header(req Request, name string) (string, bool) {
	switch name {
	case ":method":
		return req.Method, true
	case ":authority":
		return req.Host, true
	}
	v, ok := req.Headers[name]
	return v, ok
}

func value(m *matcherv3.StringMatcher, v string) (bool, error) {
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		return v == p.Exact, nil
	case *matcherv3.StringMatcher_SafeRegex:
		return whole(p.SafeRegex, v)
	}
	return false, fmt.Errorf("unknown value match %T", m.GetMatchPattern())
}

func whole(r *matcherv3.RegexMatcher, s string) (bool, error) {
	re, err := regexp.Compile(`^(?:` + r.GetRegex() + `)$`)
	if err != nil {
		return false, err
	}
	return re.MatchString(s), nil
}
