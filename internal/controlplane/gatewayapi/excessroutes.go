// SPDX-License-Identifier: Apache-2.0
// Copyright The Tulle Authors.

package gatewayapi

import (
	"fmt"
	"slices"
	"strings"

	gwapiv1 "sigs.k8s.io/gateway-api/apis/v1"

	"tulle.dev/tulle/internal/controlplane/model"
)

// maxTableBytes bounds what the routes of one namespace take in the tables of one Service, by an estimate of their text and of their
// compiled regular expressions.
// A route that names no port is in the table of each port with all its rules, so that ports and rules multiply.
const maxTableBytes = 4 << 20

// reasonTooLarge: the routes of a Service that precede a route leave too little of maxTableBytes.
const reasonTooLarge = "TooManyRules"

// ReadExcessRoutes returns the routes on a Service that are beyond maxTableBytes; nil if there are none. They have no
// effect on the Service. Of the routes of a namespace only older ones count, so that a younger one never takes the place
// of one that is in effect, and namespaces do not count for each other.
func ReadExcessRoutes(l Lookup, service model.Key) map[model.Object]bool {
	svc, ok := l.Service(service)
	if !ok || noFrontend(svc) != "" {
		return nil
	}
	routes := slices.DeleteFunc(routesOn(l, service), func(r *Route) bool { return !r.valid() })
	slices.SortFunc(routes, older)
	var out map[model.Object]bool
	taken := map[string]int{}
	for _, r := range routes {
		n := r.bytesOn(svc)
		if n == 0 {
			continue
		}
		if ns := r.source.Namespace; taken[ns]+n <= maxTableBytes {
			taken[ns] += n
			continue
		}
		if out == nil {
			out = map[model.Object]bool{}
		}
		out[r.source] = true
	}
	return out
}

// tooLarge is the finding on such a route.
func tooLarge(r *Route, svc model.Service) Finding {
	return Finding{false, reasonTooLarge, fmt.Sprintf(
		"the routes of namespace %s on Service %s are too large: their rules may take %d KiB in all ports together, the oldest routes first, and this one takes %d KiB; name the ports that it is for in parentRefs, remove rules that are not needed, or divide the Service",
		r.source.Namespace, svc.Key, maxTableBytes>>10, (r.bytesOn(svc)+1023)>>10)}
}

// bytesOn is what a route takes in the tables of all ports of a Service.
func (r *Route) bytesOn(svc model.Service) int {
	to := model.Object{Kind: KindService, Namespace: svc.Namespace, Name: svc.Name}
	refs := slices.DeleteFunc(slices.Clone(r.parents), func(ref gwapiv1.ParentReference) bool {
		on, ok := parentOf(r.source.Namespace, ref)
		return !ok || on != to
	})
	ports := 0
	for _, p := range svc.Ports {
		if slices.ContainsFunc(refs, func(ref gwapiv1.ParentReference) bool { return selects(ref, p) && carries(svc, p, r, ref) }) {
			ports++
		}
	}
	return ports * r.size.bytes
}

// What a rule and a backend take that hold no text of their own.
const (
	ruleBytes    = 256
	backendBytes = 128
	// regexBytes is what a proxy keeps for an instruction of a regular expression.
	regexBytes = 28
)

// routeSize is an estimate of what a route takes in one table. regexes is the part of bytes that its compiled regular
// expressions take.
type routeSize struct{ bytes, regexes int }

// measure returns the size of a route: each match of a rule has a copy of all that the rule does.
func (r *Route) measure() routeSize {
	n, regexes := ruleBytes, 0
	for _, h := range r.hostnames {
		n += backendBytes + len(h)
	}
	for i := range r.rules {
		u := &r.rules[i]
		does := ruleBytes + len(u.name) + modsBytes(u.requestHeaders) + modsBytes(u.responseHeaders) + rewriteBytes(u.rewrite)
		if u.redirect != nil {
			does += len(u.redirect.Hostname) + pathBytes(u.redirect.Path)
		}
		if c := u.cors; c != nil {
			does += textsBytes(c.Origins) + textsBytes(c.Methods) + textsBytes(c.Headers) + textsBytes(c.Expose)
		}
		origins := 0
		if u.cors != nil {
			for _, o := range u.cors.Origins {
				origins += len(o) + originSize
			}
		}
		does += backendBytes * len(u.mirrors)
		for _, b := range u.backends {
			does += backendBytes + modsBytes(b.requestHeaders) + modsBytes(b.responseHeaders) + rewriteBytes(b.rewrite)
		}
		if r.IsOpaque() {
			n += does
		}
		for _, m := range u.matches {
			for _, m := range append([]match{m}, u.preflights(m)...) {
				n += does + matchBytes(m.Match)
				regexes += regexBytes * (m.regexSize + pathSize(m.Path) + origins)
			}
		}
	}
	return routeSize{n + regexes, regexes}
}

// originSize is the size of what an expression for an origin says beside its text.
const originSize = 32

// pathSize is the size of the expression for a path that can be written in several ways.
func pathSize(p model.PathMatch) int {
	if p.Kind == model.PathRegex || !strings.Contains(p.Value, "%") {
		return 0
	}
	return len(p.Value)
}

func matchBytes(m model.Match) int {
	n := len(m.Path.Value) + len(m.Method)
	for _, v := range slices.Concat(m.Headers, m.Query) {
		n += backendBytes + len(v.Name) + len(v.Value)
	}
	return n
}

func modsBytes(m model.HeaderMods) int {
	n := textsBytes(m.Remove)
	for _, h := range slices.Concat(m.Set, m.Add) {
		n += backendBytes + len(h.Name) + len(h.Value)
	}
	return n
}

func rewriteBytes(r *model.Rewrite) int {
	if r == nil {
		return 0
	}
	return backendBytes + len(r.Hostname) + pathBytes(r.Path)
}

func pathBytes(p *model.PathRewrite) int {
	if p == nil {
		return 0
	}
	return len(p.Prefix) + len(p.Replacement)
}

func textsBytes(texts []string) int {
	n := 0
	for _, t := range texts {
		n += backendBytes + len(t)
	}
	return n
}
