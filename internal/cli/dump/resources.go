// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package dump

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Cluster is a group of endpoints.
type Cluster struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	TLS     string `json:"tls"` // "never", "always" or "by endpoint"
	Version string `json:"version"`
}

func (d *dump) addCluster(v versioned) error {
	var in struct {
		Name   string `json:"name"`
		Type   string `json:"type"`
		Custom struct {
			Name string `json:"name"`
		} `json:"cluster_type"`
		TLS     json.RawMessage   `json:"transport_socket"`
		Matches []json.RawMessage `json:"transport_socket_matches"`
	}
	if there, err := read(v.Cluster, &in); err != nil || !there {
		return err
	}
	out := Cluster{Name: in.Name, Type: cmp.Or(in.Type, in.Custom.Name, "STATIC"), TLS: "never", Version: v.Version}
	if len(in.TLS) > 0 {
		out.TLS = "always"
	}
	if len(in.Matches) > 0 {
		out.TLS = "by endpoint"
	}
	d.Clusters = append(d.Clusters, out)
	return nil
}

// Listener is one filter chain of a listener: what is accepted, and where it goes.
type Listener struct {
	Name    string `json:"name"`
	Address string `json:"address"`
	Match   string `json:"match"` // "any" when the chain takes everything; its name when the listener has a matcher
	To      string `json:"to"`    // "route NAME" or "cluster NAME"
	Version string `json:"version"`
}

type filterChain struct {
	Name  string `json:"name"`
	Match struct {
		Port        int      `json:"destination_port"`
		ServerNames []string `json:"server_names"`
		ALPN        []string `json:"application_protocols"`
		Transport   string   `json:"transport_protocol"`
	} `json:"filter_chain_match"`
	Filters []filter `json:"filters"`
}

// filter is a network filter, or one that Envoy asks for by name.
type filter struct {
	Name     string    `json:"name"`
	AskedFor *struct{} `json:"config_discovery"`
	Typed    struct {
		Cluster  string `json:"cluster"`
		Weighted struct {
			Clusters []weighted `json:"clusters"`
		} `json:"weighted_clusters"`
		RDS struct {
			Name string `json:"route_config_name"`
		} `json:"rds"`
		Inline *routeConfig `json:"route_config"`
	} `json:"typed_config"`
}

// addFilter keeps where a filter leads that chains ask for by name.
func (d *dump) addFilter(v versioned) error {
	var in filter
	if there, err := read(v.Filter, &in); err != nil || !there {
		return err
	}
	d.filters[in.Name] = in.to()
	return nil
}

func (d *dump) addListener(v versioned) error {
	raw, version := v.Listener, v.Version
	if v.Active != nil {
		raw, version = v.Active.Listener, v.Active.Version
	}
	var in struct {
		Name    string        `json:"name"`
		Address address       `json:"address"`
		Chains  []filterChain `json:"filter_chains"`
		Default *filterChain  `json:"default_filter_chain"`
		Matcher *struct{}     `json:"filter_chain_matcher"`
	}
	if there, err := read(raw, &in); err != nil || !there {
		return err
	}
	chains := in.Chains
	if in.Default != nil {
		chains = append(chains, *in.Default)
	}
	for _, chain := range chains {
		match := chain.match()
		if in.Matcher != nil { // which is too long to show; the names of the chains say what they take
			match = "chain " + chain.Name
		}
		d.Listeners = append(d.Listeners, Listener{
			Name: in.Name, Address: in.Address.String(), Match: match, To: d.to(chain), Version: version,
		})
	}
	return nil
}

func (f filterChain) match() string {
	var parts []string
	if f.Match.Port != 0 {
		parts = append(parts, fmt.Sprintf("port %d", f.Match.Port))
	}
	if len(f.Match.ServerNames) > 0 {
		parts = append(parts, "SNI "+strings.Join(f.Match.ServerNames, ","))
	}
	if len(f.Match.ALPN) > 0 {
		parts = append(parts, "ALPN "+strings.Join(f.Match.ALPN, ","))
	}
	if f.Match.Transport != "" {
		parts = append(parts, f.Match.Transport)
	}
	if len(parts) == 0 {
		return "any"
	}
	return strings.Join(parts, ", ")
}

// to is where a chain leads.
func (d *dump) to(f filterChain) string {
	for _, filter := range f.Filters {
		to := filter.to()
		if filter.AskedFor != nil {
			to = d.filters[filter.Name]
		}
		if to != "" {
			return to
		}
	}
	return "-"
}

func (f filter) to() string {
	t := f.Typed
	switch {
	case t.RDS.Name != "":
		return "route " + t.RDS.Name
	case t.Inline != nil:
		return "inline: " + t.Inline.targets()
	case t.Cluster != "":
		return "cluster " + t.Cluster
	case len(t.Weighted.Clusters) > 0:
		return "cluster " + shares(t.Weighted.Clusters)
	}
	return ""
}

// Route is one rule of a route configuration.
type Route struct {
	Config  string `json:"config"`
	Domains string `json:"domains"`
	Match   string `json:"match"`
	To      string `json:"to"`
	Version string `json:"version"`
}

type routeConfig struct {
	Name  string `json:"name"`
	Hosts []struct {
		Domains []string    `json:"domains"`
		Routes  []routeRule `json:"routes"`
	} `json:"virtual_hosts"`
}

func (d *dump) addRoutes(v versioned) error {
	var in routeConfig
	if there, err := read(v.RouteConfig, &in); err != nil || !there {
		return err
	}
	for _, h := range in.Hosts {
		for _, r := range h.Routes {
			d.Routes = append(d.Routes, Route{
				Config: in.Name, Domains: strings.Join(h.Domains, ","), Match: r.Match.String(), To: r.to(), Version: v.Version,
			})
		}
	}
	return nil
}

// targets lists where the rules of an inline configuration go.
func (r routeConfig) targets() string {
	var out []string
	for _, h := range r.Hosts {
		for _, rule := range h.Routes {
			if to := rule.to(); !slices.Contains(out, to) {
				out = append(out, to)
			}
		}
	}
	return strings.Join(out, "; ")
}

// Endpoint is one address of a cluster.
type Endpoint struct {
	Cluster string `json:"cluster"`
	Address string `json:"address"`
	Health  string `json:"health"`
	MTLS    bool   `json:"mtls"`
	Weight  int    `json:"weight"`
}

func (d *dump) addEndpoints(v versioned) error {
	var in struct {
		Name       string `json:"cluster_name"`
		Localities []struct {
			Endpoints []struct {
				Endpoint struct {
					Address address `json:"address"`
				} `json:"endpoint"`
				Health   string `json:"health_status"`
				Weight   int    `json:"load_balancing_weight"`
				Metadata struct {
					Filter map[string]map[string]any `json:"filter_metadata"`
				} `json:"metadata"`
			} `json:"lb_endpoints"`
		} `json:"endpoints"`
	}
	if there, err := read(v.Endpoints, &in); err != nil || !there {
		return err
	}
	for _, l := range in.Localities {
		for _, e := range l.Endpoints {
			match := e.Metadata.Filter["envoy.transport_socket_match"]
			mtls := match["tulle"] == "mtls" // what package envoy of the control plane writes
			d.Endpoints = append(d.Endpoints, Endpoint{
				Cluster: in.Name, Address: e.Endpoint.Address.String(), Health: cmp.Or(e.Health, "UNKNOWN"),
				MTLS: mtls, Weight: max(e.Weight, 1),
			})
		}
	}
	return nil
}

// sort puts everything in the order of names; rules and filter chains keep theirs, which has a meaning.
func (c *Config) sort() {
	slices.SortStableFunc(c.Clusters, func(a, b Cluster) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(c.Listeners, func(a, b Listener) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortStableFunc(c.Routes, func(a, b Route) int { return cmp.Compare(a.Config, b.Config) })
	slices.SortStableFunc(c.Endpoints, func(a, b Endpoint) int {
		return cmp.Or(cmp.Compare(a.Cluster, b.Cluster), cmp.Compare(a.Address, b.Address))
	})
}
