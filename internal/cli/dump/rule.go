// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dump

import (
	"fmt"
	"strings"
)

// routeRule is Envoy's Route as it appears in JSON.
type routeRule struct {
	Match routeMatch `json:"match"`
	Route struct {
		Cluster  string `json:"cluster"`
		Weighted struct {
			Clusters []weighted `json:"clusters"`
		} `json:"weighted_clusters"`
	} `json:"route"`
	Redirect *struct {
		Host   string `json:"host_redirect"`
		Path   string `json:"path_redirect"`
		Scheme string `json:"scheme_redirect"`
	} `json:"redirect"`
	Direct *struct {
		Status int `json:"status"`
	} `json:"direct_response"`
}

type weighted struct {
	Name   string `json:"name"`
	Weight int    `json:"weight"`
}

func (r routeRule) to() string {
	switch {
	case r.Redirect != nil:
		return strings.TrimSpace("redirect " + r.Redirect.Scheme + " " + r.Redirect.Host + " " + r.Redirect.Path)
	case r.Direct != nil:
		return fmt.Sprintf("answer %d", r.Direct.Status)
	case len(r.Route.Weighted.Clusters) > 0:
		return shares(r.Route.Weighted.Clusters)
	case r.Route.Cluster != "":
		return r.Route.Cluster
	}
	return "-"
}

// shares is "a 90 %, b 10 %".
func shares(list []weighted) string {
	total := 0
	for _, w := range list {
		total += w.Weight
	}
	var parts []string
	for _, w := range list {
		parts = append(parts, fmt.Sprintf("%s %.3g %%", w.Name, 100*float64(w.Weight)/float64(max(total, 1))))
	}
	return strings.Join(parts, ", ")
}

// routeMatch is Envoy's RouteMatch as it appears in JSON.
type routeMatch struct {
	Prefix        *string `json:"prefix"`
	Path          *string `json:"path"`
	Separated     *string `json:"path_separated_prefix"`
	Regex         *regex  `json:"safe_regex"`
	Headers       []match `json:"headers"`
	Query         []match `json:"query_parameters"`
	ConnectMethod *any    `json:"connect_matcher"`
}

type regex struct {
	Regex string `json:"regex"`
}

type match struct {
	Name    string         `json:"name"`
	String  *stringMatcher `json:"string_match"`
	Present *bool          `json:"present_match"`
}

type stringMatcher struct {
	Exact  *string `json:"exact"`
	Prefix *string `json:"prefix"`
	Regex  *regex  `json:"safe_regex"`
}

// String spells the match for people: "/cart/*, header x-a=b".
func (m routeMatch) String() string {
	var parts []string
	switch {
	case m.Path != nil:
		parts = append(parts, *m.Path)
	case m.Separated != nil:
		parts = append(parts, *m.Separated+"/*")
	case m.Prefix != nil:
		parts = append(parts, *m.Prefix+"*")
	case m.Regex != nil:
		parts = append(parts, "~"+m.Regex.Regex)
	case m.ConnectMethod != nil:
		parts = append(parts, "CONNECT")
	}
	for _, h := range m.Headers {
		parts = append(parts, "header "+h.text())
	}
	for _, q := range m.Query {
		parts = append(parts, "query "+q.text())
	}
	return strings.Join(parts, ", ")
}

func (m match) text() string {
	switch s := m.String; {
	case s == nil:
		return m.Name
	case s.Exact != nil:
		return m.Name + "=" + *s.Exact
	case s.Prefix != nil:
		return m.Name + "=" + *s.Prefix + "*"
	case s.Regex != nil:
		return m.Name + "~" + s.Regex.Regex
	}
	return m.Name
}
