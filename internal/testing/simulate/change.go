// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package simulate

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

func (w World) act(vh *routev3.VirtualHost, r *routev3.Route, req Request, out *Outcome) error {
	out.Rule = r.GetName()
	out.Response = mutated(nil, nil, r.GetResponseHeadersToAdd(), r.GetResponseHeadersToRemove())
	switch a := r.GetAction().(type) {
	case *routev3.Route_DirectResponse:
		out.Status = int(a.DirectResponse.GetStatus())
		return nil
	case *routev3.Route_Redirect:
		return redirected(a.Redirect, r.GetMatch(), req, out)
	case *routev3.Route_Route:
		if answered, err := cors(r, req, out); answered || err != nil {
			return err
		}
		return w.forward(a.Route, vh, r, req, out)
	}
	return fmt.Errorf("unknown action %T", r.GetAction())
}

func (w World) forward(a *routev3.RouteAction, vh *routev3.VirtualHost, r *routev3.Route, req Request, out *Outcome) error {
	out.Clusters = map[string]uint32{}
	headers := mutated(req.Headers, nil, r.GetRequestHeadersToAdd(), r.GetRequestHeadersToRemove())
	out.Headers = headers
	if name := a.GetCluster(); name != "" {
		out.Clusters[name] = 1
	}
	for _, c := range a.GetWeightedClusters().GetClusters() {
		out.Clusters[c.GetName()] += c.GetWeight().GetValue()
		own := mutated(req.Headers, headers, c.GetRequestHeadersToAdd(), c.GetRequestHeadersToRemove())
		if host := c.GetHostRewriteLiteral(); host != "" {
			own = set(own, ":authority", host)
		}
		if len(own) > 0 && (len(c.GetRequestHeadersToAdd())+len(c.GetRequestHeadersToRemove()) > 0 || c.GetHostRewriteLiteral() != "") {
			if out.Shares == nil {
				out.Shares = map[string]map[string]string{}
			}
			out.Shares[c.GetName()] = own
		}
	}
	missing := uint32(0)
	for name, weight := range out.Clusters {
		if !w.clusters[name] {
			missing += weight
		}
	}
	if missing > 0 {
		switch a.GetClusterNotFoundResponseCode() {
		case routev3.RouteAction_INTERNAL_SERVER_ERROR:
			out.Status = 500
		case routev3.RouteAction_NOT_FOUND:
			out.Status = 404
		default:
			out.Status = 503
		}
	}
	if host := a.GetHostRewriteLiteral(); host != "" && host != req.Host {
		out.Host = host
	}
	path, err := changed(req.Path, r.GetMatch(), a.GetPrefixRewrite(), a.GetRegexRewrite())
	if err != nil {
		return err
	}
	if path != req.Path {
		out.Path = path
	}
	for _, m := range a.GetRequestMirrorPolicies() {
		if out.Mirrors == nil {
			out.Mirrors = map[string]uint32{}
		}
		out.Mirrors[m.GetCluster()] += m.GetRuntimeFraction().GetDefaultValue().GetNumerator()
	}
	policy := a.GetRetryPolicy()
	if policy == nil {
		policy = vh.GetRetryPolicy()
	}
	out.Retries, out.RetryOn = policy.GetNumRetries().GetValue(), policy.GetRetryOn()
	out.Timeout, out.TryTimeout = text(a.GetTimeout()), text(policy.GetPerTryTimeout())
	out.Hashed = len(a.GetHashPolicy()) > 0
	return nil
}

func text(d *durationpb.Duration) string {
	if d.AsDuration() == 0 {
		return ""
	}
	return d.AsDuration().Round(time.Microsecond).String()
}

// mutated returns what differs from original once the modifications are applied to it and before.
func mutated(original, before map[string]string, add []*corev3.HeaderValueOption, remove []string) map[string]string {
	diff := map[string]string{}
	for k, v := range before {
		diff[k] = v
	}
	current := func(name string) string {
		if v, ok := diff[name]; ok {
			return v
		}
		return original[name]
	}
	for _, name := range remove {
		diff[name] = ""
	}
	for _, h := range add {
		name, v := h.GetHeader().GetKey(), strings.ReplaceAll(h.GetHeader().GetValue(), "%%", "%")
		if h.GetAppendAction() == corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD && current(name) != "" {
			v = current(name) + "," + v
		}
		diff[name] = v
	}
	if len(diff) == 0 {
		return nil
	}
	return diff
}

func set(m map[string]string, k, v string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[k] = v
	return m
}

// changed rewrites a path; the query stays.
func changed(target string, m *routev3.RouteMatch, prefix string, re *matcherv3.RegexMatchAndSubstitute) (string, error) {
	path, query, hasQuery := strings.Cut(target, "?")
	switch {
	case prefix != "":
		path = prefix + path[len(matched(m, path)):]
	case re != nil:
		compiled, err := regexp.Compile(re.GetPattern().GetRegex())
		if err != nil {
			return "", err
		}
		to := strings.ReplaceAll(strings.ReplaceAll(re.GetSubstitution(), `\\`, `\`), "$", "$$")
		path = compiled.ReplaceAllString(path, to)
	}
	if hasQuery {
		path += "?" + query
	}
	return path, nil
}

func matched(m *routev3.RouteMatch, path string) string {
	switch p := m.GetPathSpecifier().(type) {
	case *routev3.RouteMatch_Prefix:
		return p.Prefix
	case *routev3.RouteMatch_PathSeparatedPrefix:
		return p.PathSeparatedPrefix
	}
	return path
}

func redirected(a *routev3.RedirectAction, m *routev3.RouteMatch, req Request, out *Outcome) error {
	out.Status = map[routev3.RedirectAction_RedirectResponseCode]int{
		routev3.RedirectAction_MOVED_PERMANENTLY: 301, routev3.RedirectAction_FOUND: 302, routev3.RedirectAction_SEE_OTHER: 303,
		routev3.RedirectAction_TEMPORARY_REDIRECT: 307, routev3.RedirectAction_PERMANENT_REDIRECT: 308,
	}[a.GetResponseCode()]
	scheme, host, port := req.Scheme, req.Host, ""
	if s := a.GetSchemeRedirect(); s != "" {
		scheme = s
	}
	if p := a.GetPortRedirect(); p != 0 {
		port = fmt.Sprintf(":%d", p)
	}
	name, written := host, ""
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		name, written = host[:i], host[i:]
	}
	standard := req.Scheme == "http" && written == ":80" || req.Scheme == "https" && written == ":443"
	if port != "" || scheme != req.Scheme && standard {
		host = name
	}
	if h := a.GetHostRedirect(); h != "" {
		host = h
	}
	path := req.Path
	if p := a.GetPathRedirect(); p != "" {
		_, query, has := strings.Cut(path, "?")
		if path = p; has {
			path += "?" + query
		}
	}
	path, err := changed(path, m, a.GetPrefixRewrite(), a.GetRegexRewrite())
	if err != nil {
		return err
	}
	out.Location = scheme + "://" + host + port + path
	return nil
}
