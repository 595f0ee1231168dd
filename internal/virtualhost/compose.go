// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package virtualhost

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Table is what the listeners of a Gateway say of a table.
type Table struct {
	// Listeners are the host names of the listeners whose routes are in it, "" for any.
	Listeners []string `json:"listeners"`
	// Misdirected are those of the port's other HTTPS listeners: see Host.Misdirected.
	Misdirected []string `json:"misdirected,omitempty"`
}

// Part is what one route has in a table.
type Part[R any] struct {
	// Created, Namespace, Name and Kind tell which of two routes comes first where their rules are alike:
	// the older one, then by "namespace/name" (HTTPRouteRule.matches).
	Created   time.Time `json:"created"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Kind      string    `json:"kind"`
	// Claims are the listeners that it is attached to, each once.
	Claims []Claim `json:"claims"`
	// Rules are as written: of those with the same Rank the first is tried first.
	Rules []Rule[R] `json:"rules"`
}

// Claim is a route on a listener.
type Claim struct {
	// Listener is one of Table.Listeners.
	Listener string `json:"listener"`
	// Domains are the host names that route and listener have in common and that belong to this listener.
	Domains []string `json:"domains,omitempty"`
	// Hostnames are the route's own, "" for any.
	Hostnames []string `json:"hostnames"`
}

// Rule is a rule with its place in the order of precedence: larger ranks are tried first.
type Rule[R any] struct {
	Rank [5]int `json:"rank"`
	Rule R      `json:"rule"`
}

// Host is a virtual host: its domains ("*" is any) and its rules in the order in which they are tried.
type Host[R any] struct {
	Domains []string
	Rules   []R
	// Misdirected: the names are another listener's. A client that comes here for them uses a connection
	// made for another name, and is to make one of its own (RFC 9110, 15.5.20), where that listener's
	// certificates and routes decide (Listener.hostname, "misdirected requests").
	Misdirected bool
}

// Compose makes the virtual hosts of a table. A request belongs to the listener with the most specific
// host name that fits, and sees the routes of no other (GatewaySpec.listeners, "Listener Isolation"). No
// domain stands twice, so that Envoy takes the result whatever the parts say.
func Compose[R any](t Table, parts []*Part[R]) []Host[R] {
	parts = slices.SortedFunc(slices.Values(parts), older)
	attached := make(map[string]map[string][]*Part[R], len(t.Listeners)) // listener, own host name -> from old to new
	of := make(map[string]string, len(parts))                            // domain -> listener
	for _, l := range t.Listeners {
		attached[l] = map[string][]*Part[R]{}
	}
	for _, p := range parts {
		for _, c := range p.Claims {
			on, ok := attached[c.Listener]
			if !ok {
				continue // the listener is gone, and the part is about to be
			}
			for _, d := range c.Domains {
				of[d] = c.Listener
			}
			for _, h := range c.Hostnames {
				on[h] = append(on[h], p)
			}
		}
	}
	for _, l := range t.Listeners {
		of[l] = l // lest its name fall to a broader listener
	}
	domains := make([]string, 0, len(of))
	for d := range of {
		domains = append(domains, d)
	}
	slices.SortFunc(domains, Narrower)
	out := group(domains, func(d string) [][]*Part[R] { return inOrder(attached[of[d]], d) })
	var elsewhere []string
	for _, d := range t.Misdirected {
		if _, taken := of[d]; !taken {
			elsewhere = append(elsewhere, d)
		}
	}
	if len(elsewhere) > 0 {
		slices.SortFunc(elsewhere, Narrower)
		out = append(out, Host[R]{Domains: spelled(slices.Compact(elsewhere)), Misdirected: true})
	}
	return out
}

// inOrder are the parts that take in all requests for a domain, those with the most specific host name of
// their own first: their rules are tried before those of the others, however specific these are
// (HTTPRouteSpec.hostnames).
func inOrder[R any](on map[string][]*Part[R], domain string) (out [][]*Part[R]) {
	var seen []*Part[R]
	for _, h := range Broader(domain) {
		var same []*Part[R]
		for _, p := range on[h] {
			if !slices.Contains(seen, p) {
				same = append(same, p)
			}
		}
		if len(same) > 0 {
			out, seen = append(out, same), append(seen, same...)
		}
	}
	return out
}

// group makes one virtual host of all domains with the same routes.
func group[R any](domains []string, on func(string) [][]*Part[R]) []Host[R] {
	var out []Host[R]
	at := map[string]int{}
	number := map[*Part[R]]int{}
	var key []byte
	for _, d := range domains {
		groups := on(d)
		key = key[:0]
		for _, same := range groups {
			for _, p := range same {
				n, ok := number[p]
				if !ok {
					n = len(number)
					number[p] = n
				}
				key = append(strconv.AppendInt(key, int64(n), 36), ' ')
			}
			key = append(key, ';')
		}
		if i, ok := at[string(key)]; ok {
			out[i].Domains = append(out[i].Domains, spelled([]string{d})...)
			continue
		}
		at[string(key)] = len(out)
		h := Host[R]{Domains: spelled([]string{d})}
		for _, same := range groups {
			h.Rules = append(h.Rules, Ordered(same)...)
		}
		out = append(out, h)
	}
	return out
}

// Ordered returns the rules of routes in the order in which they are to be tried. The sort is stable
// over routes from old to new and rules as written, which settles ties.
func Ordered[R any](parts []*Part[R]) []R {
	parts = slices.SortedFunc(slices.Values(parts), older)
	n := 0
	for _, p := range parts {
		n += len(p.Rules)
	}
	all := make([]*Rule[R], 0, n)
	for _, p := range parts {
		for i := range p.Rules {
			all = append(all, &p.Rules[i])
		}
	}
	slices.SortStableFunc(all, func(a, b *Rule[R]) int { return slices.Compare(b.Rank[:], a.Rank[:]) })
	out := make([]R, 0, n)
	for _, r := range all {
		out = append(out, r.Rule)
	}
	return out
}

func older[R any](a, b *Part[R]) int {
	if c := a.Created.Compare(b.Created); c != 0 {
		return c
	}
	if a.Namespace != b.Namespace {
		return strings.Compare(a.Namespace+"/", b.Namespace+"/")
	}
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Kind, b.Kind))
}

// spelled writes host names as Envoy does.
func spelled(hosts []string) []string {
	out := slices.Clone(hosts)
	for i := range out {
		if out[i] == "" {
			out[i] = "*"
		}
	}
	return out
}
