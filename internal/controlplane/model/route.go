// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package model

import (
	"cmp"
	"slices"
	"time"
)

// Object names a Kubernetes object a piece of the model comes from.
type Object struct{ Kind, Namespace, Name string }

// Frontend is a Service port as clients see it: one outbound listener, matched by address.
type Frontend struct {
	Key PortKey
	// Node and Consumer are the variant, as in names.Out.
	Node, Consumer string
	// Local: there is a variant for each node beside this one.
	Local bool `json:",omitzero"`
	// Addresses are the VIPs as strings, sorted.
	Addresses []string
	// Protocol after an attached route had its say. HTTP kinds use the RouteTable of the same name;
	// TCP goes to Streams if there are any, else to Backends.
	Protocol Protocol
	// Backends of a TCP frontend: by default the Service itself with weight 1.
	Backends []WeightedBackend
	// Streams are what TCPRoutes and TLSRoutes take; what none takes is closed.
	Streams []Stream `json:",omitzero"`
	// Affinity makes requests carry the client's address as hash.
	Affinity bool
}

// PodFrontend is one pod of a headless Service at its own address: bytes over mutual TLS.
type PodFrontend struct {
	Pod     Key
	Address string
	Port    uint16 // the pod's port, which for a headless Service is where clients connect
	Service PortKey
}

// RouteTable becomes a RouteConfiguration. Name is its xDS name.
type RouteTable struct {
	Name  string
	Hosts []VirtualHost
}

// VirtualHost is a set of host names and their rules in the order they are tried.
// A request that no rule matches gets 404.
type VirtualHost struct {
	// Domains: "*" in mesh (GEP-1294: hostnames have no effect there), else exact names or "*.example.com".
	Domains []string
	Rules   []Rule
	// Misdirected: the names are another listener's, and every request is answered with 421.
	Misdirected bool `json:",omitzero"`
}

// Rule is one match and what is done with it; rules stand in the order of Gateway API's precedence.
type Rule struct {
	// Name is the rule's name in its route, if any. Source is the route.
	Name            string
	Source          Object
	Match           Match
	RequestHeaders  HeaderMods
	ResponseHeaders HeaderMods
	// At most one of Redirect and Backends is set; neither: 500 (Gateway API: all backends invalid or none).
	Redirect *Redirect
	Rewrite  *Rewrite
	Mirrors  []Mirror
	Backends []WeightedBackend
	// Timeout covers the whole request, BackendTimeout one attempt (GEP-1742); 0 is none.
	Timeout, BackendTimeout time.Duration
	// Idle is how long a stream may be silent, where the rule says something else about it than its Gateway.
	// If 0, it is as the Gateway says; Unlimited is for ever. It is always 0 in the mesh.
	Idle  time.Duration `json:",omitzero"` // versions of what does not say it stay as they were
	Retry *Retry
	// Affinity makes requests carry the client's address as hash.
	Affinity bool
	// CORS answers browsers that ask before they send (GEP-1767); nil: their questions go to the backend.
	CORS *CORS `json:",omitzero"` // versions of what has none stay as they were
}

// Match is a conjunction. The zero value matches everything.
type Match struct {
	Path    PathMatch
	Method  string
	Headers []ValueMatch
	Query   []ValueMatch
	// GRPC matches only requests whose content-type is application/grpc.
	GRPC bool
}

// PathKind says how PathMatch.Value is compared.
type PathKind string

// Path kinds. PathPrefix matches whole segments (Gateway API PathPrefix).
const (
	PathPrefix PathKind = "prefix"
	PathExact  PathKind = "exact"
	PathRegex  PathKind = "regex" // RE2, the whole path
)

// PathMatch matches the path; the zero value matches any.
type PathMatch struct {
	Kind  PathKind
	Value string
}

// ValueMatch matches a header (name compared without case) or a query parameter.
type ValueMatch struct {
	Name  string
	Value string
	Regex bool
}

// Header is a name and a value.
type Header struct{ Name, Value string }

// HeaderMods are applied in the order Set, Add, Remove.
type HeaderMods struct {
	Set, Add []Header
	Remove   []string
}

// Redirect answers with a redirection. Empty fields keep what the request has.
type Redirect struct {
	Scheme, Hostname string
	Port             uint16 // 0: by Gateway API's rules, already resolved where they need the listener
	StatusCode       int
	Path             *PathRewrite
}

// Rewrite changes the request on its way to the backend.
type Rewrite struct {
	Hostname string
	Path     *PathRewrite
}

// PathRewrite replaces the whole path or the matched prefix (Prefix is then the match's own value).
type PathRewrite struct {
	Full        bool
	Prefix      string
	Replacement string
}

// Mirror copies requests to a backend whose answers are dropped. Numerator of Denominator requests.
type Mirror struct {
	Backend                PortKey
	Numerator, Denominator uint32
	// As and Via are WeightedBackend's.
	As  string `json:",omitzero"`
	Via Via    `json:",omitzero"`
}

// WeightedBackend is a share of the requests.
type WeightedBackend struct {
	Backend PortKey
	// Node is set where the backend is the frontend's own Service with internalTrafficPolicy Local.
	Node string
	// As is names.Out.As: set where a route needs another protocol than the port's own. With Via it is
	// names.AsBytes or nothing.
	As              string `json:",omitzero"`
	Via             Via    `json:",omitzero"`
	Weight          uint32
	Invalid         bool // this share is answered with 500
	RequestHeaders  HeaderMods
	ResponseHeaders HeaderMods
	// Rewrite is done after the rule's: what it sets replaces what the rule sets.
	Rewrite *Rewrite `json:",omitzero"` // versions of what does not say it stay as they were
}

// CORS says to whom, and how, pages of other origins may send requests (Fetch, 3.3 "CORS protocol").
type CORS struct {
	// Origins are "*" alone, or SCHEME://HOST[:PORT] where HOST may be "*" or begin with "*.".
	Origins []string
	// Methods, Headers and Expose are what the page may use; "*" alone is anything it asks for.
	Methods, Headers, Expose []string
	// Credentials: the page may send cookies, and see the answer to them.
	Credentials bool
	// MaxAge is how long an answer may be kept, in seconds.
	MaxAge uint32
}

// Retry is HTTPRoute's retry (GEP-1731).
type Retry struct {
	// Attempts is how often a request is retried. If 0, never, whatever the reason.
	Attempts uint32
	Codes    []uint32
	Backoff  time.Duration
	// Broken: also requests whose connection broke, or whose backend timeout ended, before an answer.
	Broken bool `json:",omitzero"` // versions of what does not say it stay as they were
}

// Backends returns the backends that the table's rules name, sorted, each once, without invalid ones.
// With from set, only those of rules that come from that route.
func (t RouteTable) Backends(from Object) []BackendName {
	var out []BackendName
	for _, h := range t.Hosts {
		for _, r := range h.Rules {
			if from != (Object{}) && r.Source != from {
				continue
			}
			out = r.appendBackends(out)
		}
	}
	return distinctNames(out)
}

func (r Rule) appendBackends(out []BackendName) []BackendName {
	for _, b := range r.Backends {
		if !b.Invalid {
			out = append(out, b.Name())
		}
	}
	for _, m := range r.Mirrors {
		out = append(out, BackendName{Key: m.Backend, As: m.As, Via: m.Via})
	}
	return out
}

func compareVia(a, b Via) int {
	switch {
	case a.TLS == b.TLS:
		return compareKeys(a.Gateway, b.Gateway)
	case b.TLS:
		return -1
	}
	return 1
}

// BackendName names a Backend.
type BackendName struct {
	Key      PortKey
	Node, As string
	Via      Via
}

// Name is the name of the Backend that the share goes to.
func (b WeightedBackend) Name() BackendName { return BackendName{b.Backend, b.Node, b.As, b.Via} }

func distinctNames(list []BackendName) []BackendName {
	slices.SortFunc(list, func(a, b BackendName) int {
		return cmp.Or(compareKeys(a.Key.Service, b.Key.Service), cmp.Compare(a.Key.Port, b.Key.Port), cmp.Compare(a.As, b.As),
			cmp.Compare(a.Node, b.Node), compareVia(a.Via, b.Via))
	})
	return slices.Compact(list)
}

// From returns the rules that come from a route, in order.
func (t RouteTable) From(route Object) []Rule {
	var out []Rule
	for _, h := range t.Hosts {
		for _, r := range h.Rules {
			if r.Source == route {
				out = append(out, r)
			}
		}
	}
	return out
}
